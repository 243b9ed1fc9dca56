"""What a server keeps of one application beside the databases: its record, its sample and its learned bundle.

    STATE/applications/<name>/application.json   the record
    STATE/applications/<name>/sample/            the newest entries
    STATE/applications/<name>/model-3/           the bundle in force, or one that was just made

The record is written beside its place and renamed: whatever it names is there as a whole.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import orjson
import structlog

MAX_NAME_BYTES = 128
APPLICATIONS = "applications"
RECORD = "application.json"
SAMPLE = "sample"
_log = structlog.get_logger("deeplog_grpc.storage")
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationRecord:
    """What is known of an application across restarts."""

    application: str
    begun_ns: int
    """When its first entry arrived, in nanoseconds since 1970 UTC."""
    bundle: str = ""
    """Name of the folder of the learned bundle in force; empty = there is none."""
    given: str = ""
    """Checksum of the bundle that the server was started with when this one took its place; empty = there was none."""
    trained_ns: int = 0
    """When the latest training that came into force ended; 0 = never."""
    tried_ns: int = 0
    """When the latest training ended, whatever came of it; 0 = never."""
    entries: int = 0
    """Entries that the model in force was trained on."""
    sessions: int = 0
    """Their sessions, and blocks of entries that belong to none."""
    log_keys: int = 0
    """Log keys that it knows."""
    entries_at_failure: int = 0
    """Entries of the sample when a training failed last, and none has succeeded since; 0 = none has failed."""
    refusal: str = ""
    """Why the latest training did not come into force; empty = it did."""


def is_application_name(name: str) -> bool:
    r"""Whether an application may have this name: 1 to 128 bytes, printable, without blanks at its ends.

    Examples
    --------
    >>> is_application_name("shop/orders"), is_application_name(""), is_application_name("a\nb")
    (True, False, False)
    """
    return 0 < len(name.encode()) <= MAX_NAME_BYTES and name.isprintable() and name == name.strip()


def folder_name(application: str) -> str:
    """The name of an application's folder: its own where that is harmless, else with a checksum.

    Examples
    --------
    >>> folder_name("orders"), folder_name("../x")
    ('orders', '___x~d6b96a97d147daaa')
    """
    if _PLAIN.fullmatch(application):
        return application
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", application)[:60]
    return f"{readable}~{hashlib.sha256(application.encode()).hexdigest()[:16]}"


class ApplicationFolder:
    """The folder of one application.

    Parameters
    ----------
    directory : Path
        Its place.
    record : ApplicationRecord
    """

    def __init__(self, directory: Path, record: ApplicationRecord) -> None:
        self.directory = directory
        self.record = record

    @property
    def sample(self) -> Path:
        """Folder of its sample."""
        return self.directory / SAMPLE

    @property
    def bundle(self) -> Path | None:
        """Folder of the learned bundle in force."""
        return self.directory / self.record.bundle if self.record.bundle else None

    def write(self, **changes: Any) -> None:
        """Change the record, on the disk and here.

        Raises
        ------
        OSError
            If it cannot be written; then it is changed here only.
        """
        self.record = replace(self.record, **changes)
        self.directory.mkdir(parents=True, exist_ok=True)
        unfinished = self.directory / f".{RECORD}.unfinished"
        with unfinished.open("wb") as file:
            file.write(orjson.dumps(asdict(self.record), option=orjson.OPT_INDENT_2))
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self.directory / RECORD)

    def clear(self) -> None:
        """Remove bundles that are not in force."""
        for path in self.directory.glob("*model-*"):
            if path.name != self.record.bundle:
                shutil.rmtree(path, ignore_errors=True)


def new_folder(state: Path, application: str, *, begun_ns: int) -> ApplicationFolder:
    """The folder of an application that is not on the disk yet; nothing is written."""
    record = ApplicationRecord(application=application, begun_ns=begun_ns)
    return ApplicationFolder(state / APPLICATIONS / folder_name(application), record)


def application_folders(state: Path) -> Iterator[ApplicationFolder]:
    """The folders of a state's applications, oldest first; one whose record is damaged is left out, and logged."""
    found = []
    for path in (state / APPLICATIONS).glob(f"*/{RECORD}"):
        try:
            content = orjson.loads(path.read_bytes())
            known = {field.name for field in fields(ApplicationRecord)}
            record = ApplicationRecord(**{name: value for name, value in content.items() if name in known})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            _log.error("the record of an application is damaged: it is learned anew", path=str(path), error=str(error))
            continue
        found.append(ApplicationFolder(path.parent, record))
    yield from sorted(found, key=lambda folder: (folder.record.begun_ns, folder.record.application))
