"""``train --checkpoint``: reads the input of a training, saves how far it came, and goes on from there."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deeplog_grpc import __version__
from deeplog_grpc.cli.console import MESSAGES
from deeplog_grpc.errors import CheckpointError, InputError
from deeplog_grpc.ingest.files import BEGINNING, STDIN, LineChunk, Place, read_chunks
from deeplog_grpc.settings import Settings
from deeplog_grpc.storage import (
    Checkpoint,
    check_checkpoint_place,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
)
from deeplog_grpc.training import Trainer

SAVING_SHARE = 0.1
"""Of the time, at most, goes into saving: a long history is saved less often."""
_NOT_LEARNED_FROM = (
    *("deliveries", "detector", "drift", "feedback", "ingest", "learning"),
    *("outputs", "receivers", "routing", "server", "ship", "state"),
)
"""Sections of the configuration that scoring alone looks at."""


class Progress:
    """A training's way through its input.

    Parameters
    ----------
    settings : Settings
        Of the training.
    paths : sequence of str
        Its files, in order.
    given : mapping
        Its other arguments that decide what is learned.
    folder : Path or None
        Where to save; None = nowhere.
    every_s : float
        Seconds between two saves, at least; 0 = save after each chunk.

    Raises
    ------
    CheckpointError
        If there is a checkpoint that is damaged, or of other arguments or input.
    InputError
        If the folder holds something else, or the input is standard input, which nobody can read again.
    """

    def __init__(
        self, settings: Settings, paths: Sequence[str], given: Mapping[str, Any], folder: Path | None, every_s: float
    ) -> None:
        self._paths = paths
        self._folder = folder
        self._every_s = every_s
        self._saved_at = time.monotonic()
        self._number, self._place = 0, BEGINNING
        self.trainer = settings.recipe().trainer()
        """Has what was read so far."""
        if folder is None:
            return
        if STDIN in paths:
            raise InputError("standard input cannot be read again: give files", field="--checkpoint")
        check_checkpoint_place(folder)
        self._arguments = _arguments(settings, paths, given)
        found = load_checkpoint(folder)
        if found is not None:
            self._adopt(found, settings, folder)

    def chunks(self) -> Iterator[tuple[int, LineChunk]]:
        """The rest of the input, chunk by chunk, each with the number of its file.

        When the next one is asked for, the trainer must have the one before.
        """
        while self._number < len(self._paths):
            for chunk in read_chunks(self._paths[self._number], start=self._place):
                yield self._number, chunk
                self._place = chunk.place
                self._save(only_if_due=True)
            self._number, self._place = self._number + 1, BEGINNING
        self._save(only_if_due=False)  # so that a kill while it learns does not cost the reading

    def done(self) -> None:
        """The training is over: nothing needs to be kept."""
        if self._folder is not None:
            remove_checkpoint(self._folder)

    def _adopt(self, found: Checkpoint, settings: Settings, folder: Path) -> None:
        for name in sorted(self._arguments.keys() | found.arguments.keys()):
            was, now = found.arguments.get(name, "not given"), self._arguments.get(name, "not given")
            if was != now:
                raise CheckpointError(
                    f"was begun with other arguments or input ({name}: was {was}, is {now}): give those again, or "
                    "delete the folder to begin anew",
                    field=str(folder),
                )
        try:
            self.trainer = Trainer.from_state(found.parts, sessions=settings.sessions, values=settings.value_model)
            self._number = found.position["file"]
            self._place = Place(line=found.position["line"], read=found.position["read"])
        except (ValueError, KeyError, TypeError) as error:
            message = f"does not fit together ({error}): delete the folder to begin anew"
            raise CheckpointError(message, field=str(folder)) from error
        MESSAGES.print(f"going on after {self.trainer.entries:,} entries, from {folder}", markup=False)

    def _save(self, *, only_if_due: bool) -> None:
        started = time.monotonic()
        if self._folder is None or (only_if_due and started - self._saved_at < self._every_s):
            return
        position = {"file": self._number, "line": self._place.line, "read": self._place.read}
        save_checkpoint(
            Checkpoint(arguments=self._arguments, position=position, parts=self.trainer.state()), self._folder
        )
        self._saved_at = time.monotonic()
        if self._every_s:
            self._every_s = max(self._every_s, (self._saved_at - started) / SAVING_SHARE)


def _arguments(settings: Settings, paths: Sequence[str], given: Mapping[str, Any]) -> dict[str, str]:
    """All that decides what is learned, by name. The input's files are known by size and time: reading them is slow."""
    names = [name for name in Settings.model_fields if name not in _NOT_LEARNED_FROM]
    sections = {f"{name}.{key}": value for name in names for key, value in asdict(getattr(settings, name)).items()}
    files = {f"file {path}": _stamp(path) for path in paths}
    # Another release may read the same lines otherwise.
    given = {**given, "release": __version__}
    return {name: str(value) for name, value in {**given, **sections, "files": list(paths), **files}.items()}


def _stamp(path: str) -> str:
    found = os.stat(path)
    return f"{found.st_size} bytes of {found.st_mtime_ns} ns"
