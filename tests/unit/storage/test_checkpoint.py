"""Saves of a training's progress: whole, or refused by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deeplog_grpc.errors import CheckpointError, InputError
from deeplog_grpc.storage import (
    Checkpoint,
    check_checkpoint_place,
    load_checkpoint,
    remove_checkpoint,
    save_checkpoint,
)

FOUND = Checkpoint(
    arguments={"seed": "0", "file a": "3 bytes"},
    position={"file": 1, "line": 7},
    parts={
        "keys": np.array([1, 2, 3], np.int32),
        "times": np.array([2**62], np.int64),
        "none": np.zeros(0, np.int8),
        "names": ["a", "b\u2028\n"],
        "parser": {"keys": 3},
    },
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_checkpoint(FOUND, tmp_path / "progress")
    return tmp_path / "progress"


def test_a_checkpoint_is_read_as_it_was_written(saved: Path) -> None:
    loaded = load_checkpoint(saved)
    assert loaded is not None
    assert (loaded.arguments, loaded.position) == (FOUND.arguments, FOUND.position)
    assert loaded.parts.keys() == FOUND.parts.keys()
    for name, part in FOUND.parts.items():
        found = loaded.parts[name]
        assert np.array_equal(found, part) if isinstance(part, np.ndarray) else found == part
        assert getattr(found, "dtype", None) == getattr(part, "dtype", None)


def test_the_last_save_counts_and_the_older_ones_go(saved: Path) -> None:
    newer = Checkpoint(arguments=FOUND.arguments, position={"file": 2, "line": 0}, parts={})
    save_checkpoint(newer, saved)
    assert load_checkpoint(saved) == newer
    assert [path.name for path in saved.iterdir()] == ["000002"]


def test_without_a_save_there_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path / "none") is None
    (tmp_path / ".unfinished").mkdir()
    check_checkpoint_place(tmp_path)
    assert load_checkpoint(tmp_path) is None


def test_a_checkpoint_is_removed_and_nothing_else(saved: Path) -> None:
    remove_checkpoint(saved)
    assert not saved.exists()
    remove_checkpoint(saved)
    saved.mkdir()
    (saved / "mine.txt").touch()
    with pytest.raises(InputError, match=r"is not a checkpoint \(mine.txt\)"):
        check_checkpoint_place(saved)
    remove_checkpoint(saved)
    assert (saved / "mine.txt").exists()


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("name", ["keys.bin", "names.json", "parser.json", "checkpoint.json"])
@pytest.mark.parametrize("damage", [_cut, _flip, Path.unlink])
def test_a_damaged_file_is_named_with_the_remedy(saved: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(saved / "000001" / name)
    with pytest.raises(CheckpointError, match=rf"000001/{name}: .*: delete the folder to begin anew"):
        load_checkpoint(saved)


def test_a_checkpoint_of_another_format_is_refused(saved: Path) -> None:
    manifest = saved / "000001" / "checkpoint.json"
    manifest.write_text(manifest.read_text().replace('"format": 2', '"format": 9'))
    with pytest.raises(CheckpointError, match="has format 9; this release reads format 2"):
        load_checkpoint(saved)
