"""Model bundles: a trained application as a folder on disk.

    manifest.json           format, application, version, SHA-256 of the key table, of every file and of itself
    config.json             configuration of the key model and of sessions; the learned time-out
    parser.json             the parser's state: templates, key ids
    key_model.json          vocabulary
    key_model.safetensors   weights
    profile.json            shape of normal sessions; calibration of all thresholds
    values.json             value models' scales and errors, value sets
    values.safetensors      weights of the value models' networks
    sessions.safetensors    sessions of training that updates are checked with
    workflow.json           tasks as blocks, states and edges
    report.json             what training saw and reached; for people

Invariants: a bundle is whole or it is not there: it is written beside its place, flushed to the disk, and renamed.
Nothing in it is code. A file that is damaged, missing or unknown is named, and the bundle refused.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import orjson
import safetensors
import safetensors.numpy
import safetensors.torch

from deeplog_grpc import __version__
from deeplog_grpc.detection import ApplicationModel, SessionConfig
from deeplog_grpc.errors import BundleError, InputError
from deeplog_grpc.models import (
    Behaviour,
    Calibration,
    KeyModelConfig,
    KnownNormal,
    LogKeyModel,
    SessionProfile,
    ThresholdConfig,
    ValueModel,
    ValueModelConfig,
    ValueSets,
    Vocabulary,
)
from deeplog_grpc.parsing import Parser
from deeplog_grpc.workflow import Workflow

FORMAT = 5
"""Grows when an older release could not read the bundle."""

MANIFEST = "manifest.json"
CONFIG = "config.json"
PARSER = "parser.json"
KEY_MODEL = "key_model.json"
WEIGHTS = "key_model.safetensors"
PROFILE = "profile.json"
VALUES = "values.json"
VALUE_WEIGHTS = "values.safetensors"
SESSIONS = "sessions.safetensors"
WORKFLOW = "workflow.json"
REPORT = "report.json"
_PARTS = (CONFIG, PARSER, KEY_MODEL, WEIGHTS, PROFILE, VALUES, VALUE_WEIGHTS, SESSIONS, WORKFLOW, REPORT)

_SEAL = "sha256"
_MAX_SAID = 300
"""Characters of what a library says of damaged parts: some repeat the parts."""
_NO_MANIFEST = "is not a manifest of a model bundle: damaged"
_PREVIOUS = ".previous"
_UNFINISHED = ".unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleInfo:
    """What a bundle says of itself without its models being loaded."""

    application: str
    version: int
    written_by: str
    """Release that wrote it."""
    report: Mapping[str, Any]
    bytes: int
    """Size of all files."""


def save_bundle(model: ApplicationModel, directory: Path, *, report: Mapping[str, Any]) -> None:
    """Write a bundle, in the place of one that may be there.

    Raises
    ------
    InputError
        If the directory is there and is not a bundle, or cannot be written.
    """
    check_place(directory)
    directory = directory.absolute()
    unfinished = directory.with_name(f".{directory.name}{_UNFINISHED}-{os.getpid()}")
    try:
        # What a killed process left; in a container the next one has the same number.
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        _write_parts(model, unfinished, report)
        _put_in_place(unfinished, directory)
    except OSError as error:
        raise InputError(f"cannot write the model bundle: {error.strerror or error}", field=str(directory)) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def check_place(directory: Path) -> None:
    """Refuse what :func:`save_bundle` would refuse, before a long training rather than after it.

    Raises
    ------
    InputError
        If the directory is there, and is neither empty nor a bundle.
    """
    try:
        free = not directory.exists() or (directory / MANIFEST).is_file() or not any(directory.iterdir())
    except OSError:
        free = False
    if not free:
        raise InputError("is there and is not a model bundle: give another place", field=str(directory.absolute()))


def load_bundle(directory: Path) -> ApplicationModel:
    """Read a bundle.

    Raises
    ------
    BundleError
        Naming the file and what is wrong with it.
    """
    directory = _present(directory)
    manifest, parts = _checked(directory)
    try:
        parser = Parser.from_state(orjson.loads(parts[PARSER]))
        model = read_parts(parts, parser, application=manifest["application"], version=manifest["version"])
        if manifest["key_table"] != _key_table(model.parser, model.key_model.vocabulary):
            raise ValueError("the parser's log keys are not those that the key model was trained on")
    except DAMAGED as error:
        said = " ".join(str(error).split())[:_MAX_SAID]
        _refuse(directory, f"does not fit together: {type(error).__name__}: {said}", error)
    return model


def read_info(directory: Path) -> BundleInfo:
    """What a bundle says of itself; its files are checked.

    Raises
    ------
    BundleError
        As :func:`load_bundle`.
    """
    directory = _present(directory)
    manifest, parts = _checked(directory)
    try:
        report = orjson.loads(parts[REPORT])
    except ValueError as error:
        _refuse(directory / REPORT, "is not JSON: damaged", error)
    return BundleInfo(
        application=manifest["application"],
        version=manifest["version"],
        written_by=manifest["written_by"],
        report=report,
        bytes=sum(len(part) for part in parts.values()),
    )


def bundle_checksum(directory: Path) -> str:
    """What tells a bundle from all others: the checksum of its manifest, which has those of all its files.

    Raises
    ------
    BundleError
        As :func:`load_bundle`.
    """
    return _sha256(_read(_present(directory), MANIFEST))


def fixed_parts(model: ApplicationModel) -> dict[str, bytes]:
    """A model as the content of files, name -> content: the parts that only training makes, but for the parser."""
    config = {
        "key_model": asdict(model.key_model.config),
        "thresholds": _with_infinity(asdict(model.behaviour.calibration.config)),
        "value_model": asdict(model.value_model.config),
        "sessions": asdict(model.sessions),
        "timeout_s": model.timeout_s,
    }
    return {
        CONFIG: _json(config),
        SESSIONS: safetensors.numpy.save(model.behaviour.known.arrays()),
        WORKFLOW: _json(model.workflow.to_json()),
    }


def learned_parts(model: ApplicationModel) -> dict[str, bytes]:
    """The parts that feedback changes too."""
    profile = {"profile": model.behaviour.profile.to_json(), "calibration": model.behaviour.calibration.to_json()}
    return {
        KEY_MODEL: _json({"vocabulary": model.key_model.vocabulary.to_json()}),
        WEIGHTS: safetensors.torch.save(model.key_model.weights()),
        PROFILE: _json(profile),
        VALUES: _json({"model": model.value_model.to_json(), "sets": model.value_sets.to_json()}),
        VALUE_WEIGHTS: safetensors.torch.save(model.value_model.weights()),
    }


DAMAGED = (
    *(ValueError, TypeError, LookupError, AttributeError, ArithmeticError),
    *(RuntimeError, MemoryError, safetensors.SafetensorError),
)
"""What :func:`read_parts` raises for parts that do not fit together: they may have been made by somebody who knows how
bundles are sealed, so anything may stand anywhere in them."""


@np.errstate(over="raise", invalid="raise")  # a number that a column cannot hold is damage too
def read_parts(parts: Mapping[str, bytes], parser: Parser, *, application: str, version: int) -> ApplicationModel:
    """Read what :func:`fixed_parts` and :func:`learned_parts` gave; raises one of :data:`DAMAGED`."""
    config, learned, values = (orjson.loads(parts[name]) for name in (CONFIG, PROFILE, VALUES))
    key_model = LogKeyModel.from_weights(
        KeyModelConfig(**config["key_model"]),
        Vocabulary.from_json(orjson.loads(parts[KEY_MODEL])["vocabulary"]),
        safetensors.torch.load(parts[WEIGHTS]),
    )
    behaviour = Behaviour(
        key_model=key_model,
        profile=SessionProfile.from_json(learned["profile"]),
        calibration=Calibration.from_json(learned["calibration"], ThresholdConfig(**config["thresholds"])),
        known=KnownNormal.from_arrays(safetensors.numpy.load(parts[SESSIONS])),
    )
    return ApplicationModel(
        application=application,
        version=version,
        parser=parser,
        behaviour=behaviour,
        value_model=ValueModel.from_json(
            ValueModelConfig(**config["value_model"]), values["model"], safetensors.torch.load(parts[VALUE_WEIGHTS])
        ),
        value_sets=ValueSets.from_json(values["sets"]),
        sessions=SessionConfig(**config["sessions"]),
        timeout_s=float(config["timeout_s"]),
        workflow=Workflow.from_json(orjson.loads(parts[WORKFLOW])),
    )


def _write_parts(model: ApplicationModel, directory: Path, report: Mapping[str, Any]) -> None:
    parts = {
        **fixed_parts(model),
        **learned_parts(model),
        PARSER: _json(model.parser.state()),
        REPORT: _json(report),
    }
    manifest = {
        "format": FORMAT,
        "application": model.application,
        "version": model.version,
        "written_by": f"deeplog-grpc {__version__}",
        "key_table": _key_table(model.parser, model.key_model.vocabulary),
        "files": {name: {"sha256": _sha256(content), "bytes": len(content)} for name, content in parts.items()},
    }
    for name, content in (*parts.items(), (MANIFEST, _sealed(manifest))):
        with (directory / name).open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    _sync_directory(directory)


def _with_infinity(limits: Mapping[str, float | None]) -> dict[str, float | str | None]:
    """JSON has no infinity; the configuration reads it as a text."""
    return {name: "inf" if limit == inf else limit for name, limit in limits.items()}


def _key_table(parser: Parser, vocabulary: Vocabulary) -> str:
    """SHA-256 of the log keys that the model knows, with their templates: what ties its weights to the parser."""
    return _sha256(_json([[key, parser.template(key).text] for key in vocabulary.keys]))


def _put_in_place(unfinished: Path, directory: Path) -> None:
    """Rename; a bundle that was there stays readable under its ``.previous`` name until the new one is in place."""
    previous = directory.with_name(f".{directory.name}{_PREVIOUS}")
    if directory.exists():
        shutil.rmtree(previous, ignore_errors=True)
        directory.rename(previous)
    unfinished.rename(directory)
    _sync_directory(directory.parent)
    shutil.rmtree(previous, ignore_errors=True)


def _present(directory: Path) -> Path:
    """The directory, or what was there before when a replacement was cut off between its two renames."""
    directory = directory.absolute()
    previous = directory.with_name(f".{directory.name}{_PREVIOUS}")
    return previous if not directory.exists() and previous.is_dir() else directory


def _checked(directory: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """The manifest and the content of every file, all as the manifest says."""
    content = _read(directory, MANIFEST)
    try:
        manifest = orjson.loads(content)
        form = manifest["format"]
    except (ValueError, TypeError, KeyError) as error:
        _refuse(directory / MANIFEST, _NO_MANIFEST, error)
    if form != FORMAT:
        _refuse(directory / MANIFEST, f"has format {str(form)[:20]}; this release reads format {FORMAT}")
    if content != _sealed({name: value for name, value in manifest.items() if name != _SEAL}):
        _refuse(directory / MANIFEST, "does not have the checksum that it names: damaged")
    _check_fields(directory, manifest)
    parts = {}
    for name in _PARTS:
        try:
            digest, size = manifest["files"][name]["sha256"], manifest["files"][name]["bytes"]
        except (TypeError, KeyError) as error:
            _refuse(directory / MANIFEST, f"does not describe {name}: damaged", error)
        part = _read(directory, name)
        if len(part) != size:
            _refuse(directory / name, f"has {len(part)} bytes instead of {size}: truncated or overwritten")
        if _sha256(part) != digest:
            _refuse(directory / name, "does not have the checksum in the manifest: damaged")
        parts[name] = part
    return manifest, parts


def _check_fields(directory: Path, manifest: Mapping[str, Any]) -> None:
    for name, kind in (("application", str), ("version", int), ("written_by", str), ("key_table", str)):
        if not isinstance(manifest.get(name), kind):
            _refuse(directory / MANIFEST, _NO_MANIFEST)


def _read(directory: Path, name: str) -> bytes:
    try:
        return (directory / name).read_bytes()
    except OSError as error:
        if not directory.is_dir():
            _refuse(directory, "is not there: give the folder that 'deeplog-grpc train --out' wrote", error)
        _refuse(directory / name, f"cannot be read: {error.strerror}", error)


def _refuse(path: Path, message: str, cause: Exception | None = None) -> NoReturn:
    raise BundleError(message, field=str(path)) from cause


def _sealed(manifest: Mapping[str, Any]) -> bytes:
    """The manifest's content with its own checksum."""
    return _json({**manifest, _SEAL: _sha256(_json(manifest))})


def _json(data: Any) -> bytes:
    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
