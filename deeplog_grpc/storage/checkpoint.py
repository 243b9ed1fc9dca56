"""Checkpoints: the progress of a training as a folder on disk, so that a killed one goes on where it was.

    000012/                 one save; the next one has the next number
        checkpoint.json     format, arguments, position, SHA-256 of every part and of itself
        <part>.json         a part that is plain data
        <part>.bin          a part that is a numpy array: its bytes

Invariants: a save is whole or it is not there: it is written beside its place, flushed to the disk, and renamed; only
then are older ones removed. Nothing in it is code. A file that is damaged, missing or unknown is named, and refused.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import orjson

from deeplog_grpc.errors import CheckpointError, InputError

FORMAT = 2
"""Grows when an older release could not read the checkpoint."""

_MANIFEST = "checkpoint.json"
_UNFINISHED = ".unfinished"
_FILE = re.compile(r"\w[\w-]*\.(bin|json)")
_SEAL = "sha256"
_REMEDY = "delete the folder to begin anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a training stands."""

    arguments: Mapping[str, str]
    """What it was started with: by name, as texts to be compared."""
    position: Mapping[str, int]
    """How far its input is read."""
    parts: Mapping[str, Any]
    """Name -> numpy array of one dimension, or plain data for JSON. Names are file names."""


def check_checkpoint_place(directory: Path) -> None:
    """Refuse a folder that holds something else, which :func:`remove_checkpoint` would remove.

    Raises
    ------
    InputError
        If the directory is there, and holds anything but a checkpoint.
    """
    try:
        foreign = [path.name for path in directory.iterdir() if not _is_ours(path)] if directory.exists() else []
    except OSError:
        foreign = [directory.name]
    if foreign:
        raise InputError(
            f"is there and is not a checkpoint ({foreign[0]}): give another place", field=str(directory.absolute())
        )


def save_checkpoint(checkpoint: Checkpoint, directory: Path) -> None:
    """Save, in the place of the save before it.

    Raises
    ------
    InputError
        If the directory cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        older = _saves(directory)
        unfinished = directory / _UNFINISHED
        shutil.rmtree(unfinished, ignore_errors=True)  # what a killed process left
        unfinished.mkdir()
        _write(checkpoint, unfinished)
        unfinished.rename(directory / f"{_number(older) + 1:06}")
        _sync_directory(directory)
    except OSError as error:
        raise InputError(f"cannot write the checkpoint: {error.strerror or error}", field=str(directory)) from error
    for save in older:
        shutil.rmtree(save, ignore_errors=True)


def load_checkpoint(directory: Path) -> Checkpoint | None:
    """Read the last save; None if there is none.

    Raises
    ------
    CheckpointError
        Naming the file and what is wrong with it.
    """
    saves = _saves(directory)
    if not saves:
        return None
    save = saves[-1]
    content = _read(save / _MANIFEST)
    try:
        manifest = orjson.loads(content)
        form = manifest["format"]
    except (ValueError, TypeError, KeyError) as error:
        _refuse(save / _MANIFEST, "is damaged", error)
    if not isinstance(form, int):
        _refuse(save / _MANIFEST, "is damaged")
    if form != FORMAT:
        _refuse(save / _MANIFEST, f"has format {form}; this release reads format {FORMAT}")
    if content != _sealed({name: value for name, value in manifest.items() if name != _SEAL}):
        _refuse(save / _MANIFEST, "does not have the checksum that it names: damaged")
    try:
        return Checkpoint(
            arguments=dict(manifest["arguments"]),
            position=dict(manifest["position"]),
            parts={name: _part(save, described) for name, described in manifest["parts"].items()},
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        _refuse(save / _MANIFEST, "does not describe its parts: damaged", error)


def remove_checkpoint(directory: Path) -> None:
    """Remove it; a folder that holds something else as well stays, with that."""
    for path in (*_saves(directory), directory / _UNFINISHED):
        shutil.rmtree(path, ignore_errors=True)
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _write(checkpoint: Checkpoint, directory: Path) -> None:
    described: dict[str, Any] = {}
    for name, part in checkpoint.parts.items():
        if isinstance(part, np.ndarray):
            file, content, dtype = f"{name}.bin", np.ascontiguousarray(part).view(np.uint8).data, part.dtype.str
        else:
            file, content, dtype = f"{name}.json", memoryview(orjson.dumps(part)), ""
        _write_file(directory / file, content)
        digest = hashlib.sha256(content).hexdigest()
        described[name] = {"file": file, "dtype": dtype, "bytes": content.nbytes, "sha256": digest}
    manifest = {
        "format": FORMAT,
        "arguments": dict(checkpoint.arguments),
        "position": dict(checkpoint.position),
        "parts": described,
    }
    _write_file(directory / _MANIFEST, memoryview(_sealed(manifest)))
    _sync_directory(directory)


def _part(save: Path, described: Mapping[str, Any]) -> Any:
    """A part, as the manifest describes it; raises one of several errors for what describes none."""
    name = described["file"]
    if not _FILE.fullmatch(name):  # a path would lead out of the folder
        raise ValueError("not the name of a part")
    path = save / name
    content = _read(path)
    if len(content) != described["bytes"]:
        _refuse(path, f"has {len(content)} bytes instead of {described['bytes']}: truncated or overwritten")
    if hashlib.sha256(content).hexdigest() != described["sha256"]:
        _refuse(path, "does not have the checksum that it should have: damaged")
    return np.frombuffer(content, np.dtype(described["dtype"])) if described["dtype"] else orjson.loads(content)


def _is_ours(path: Path) -> bool:
    return path.is_dir() and (path.name == _UNFINISHED or path.name.isdecimal())


def _saves(directory: Path) -> list[Path]:
    """Whole saves, oldest first. A killed process may have left an older one beside the last."""
    if not directory.is_dir():
        return []
    return sorted((path for path in directory.iterdir() if path.name.isdecimal()), key=lambda path: int(path.name))


def _number(saves: list[Path]) -> int:
    return int(saves[-1].name) if saves else 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror}", error)


def _refuse(path: Path, message: str, cause: Exception | None = None) -> NoReturn:
    raise CheckpointError(f"{message}: {_REMEDY}", field=str(path)) from cause


def _sealed(manifest: Mapping[str, Any]) -> bytes:
    """The manifest's content with its own checksum."""
    return _json({**manifest, _SEAL: hashlib.sha256(_json(manifest)).hexdigest()})


def _json(data: Any) -> bytes:
    return orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def _write_file(path: Path, content: memoryview) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
