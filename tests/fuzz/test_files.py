"""What lies on a disk that others can write to: bundles, checkpoints, samples, application folders."""

import hashlib
import random
import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.errors import BundleError, CheckpointError
from deeplog_grpc.storage import load_bundle, samples
from deeplog_grpc.storage.bundle import MANIFEST, read_info
from deeplog_grpc.storage.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from deeplog_grpc.storage.samples import SamplePlace, newest_entries, read_sample
from tests.fuzz.bounds import MIB, memory_within, tries
from tests.fuzz.hostile import CANARY, Hostile, seeds

_JSON_PARTS = ("config.json", "parser.json", "key_model.json", "profile.json", "values.json", "workflow.json")
_TENSOR_PARTS = ("key_model.safetensors", "values.safetensors", "sessions.safetensors")
_ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**31, 2**53, 1e308, -0.5, "", CANARY, "../../etc/passwd", "inf", "nan", [], {}, [[]]),
    *([None], {"": None}, [1, 2], ["a"], {"sha256": 1, "bytes": "x"}, "\x00", "x" * 1_000),
)


def loaded(directory: Path) -> None:
    """Load a bundle and ask it what it is: either both work, or it is said what is wrong, at the caller's level."""
    for read in (load_bundle, read_info):
        said = ""
        try:
            read(directory)
        except BundleError as error:
            said = str(error)
        assert len(said) < 600


@contextmanager
def changed(bundle: Path, name: str, content: bytes) -> Iterator[None]:
    """A bundle with another content of one file meanwhile."""
    kept = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content)
    try:
        yield
    finally:
        (bundle / name).write_bytes(kept)


@contextmanager
def forged(bundle: Path, name: str, content: bytes) -> Iterator[None]:
    """The same with the manifest of somebody who knows how it is sealed."""
    manifest = orjson.loads((bundle / MANIFEST).read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    with changed(bundle, name, content), changed(bundle, MANIFEST, sealed(manifest)):
        yield


def sealed(manifest: Any) -> bytes:
    if not isinstance(manifest, dict):
        return orjson.dumps(manifest)
    manifest.pop("sha256", None)
    digest = hashlib.sha256(orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)).hexdigest()
    return orjson.dumps({**manifest, "sha256": digest}, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS)


def mutated(tree: Any, rng: random.Random) -> Any:
    """A JSON tree with one place of it replaced, removed or doubled; a few levels down, most times."""
    if isinstance(tree, dict) and tree and rng.random() < 0.9:
        key = rng.choice(list(tree))
        if rng.random() < 0.1:
            return {other: value for other, value in tree.items() if other != key}
        return {**tree, key: mutated(tree[key], rng)}
    if isinstance(tree, list) and tree and rng.random() < 0.9:
        place = rng.randrange(len(tree))
        if rng.random() < 0.1:
            return tree[:place] + tree[place + 1 :]
        return [*tree[:place], mutated(tree[place], rng), *tree[place + 1 :]]
    return rng.choice(_ODD)


@pytest.fixture(scope="module")
def bundle(small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy that tests may change, and put back."""
    copy = tmp_path_factory.mktemp("fuzzed") / "bundle"
    shutil.copytree(small_bundle, copy)
    return copy


@tries(40)
@given(seed=seeds)
def test_bundles_with_changed_bytes_are_refused(bundle: Path, seed: int) -> None:
    hostile = Hostile(seed)
    name = hostile.random.choice([path.name for path in sorted(bundle.iterdir())])
    before = (bundle / name).read_bytes()
    after = hostile.bytes(before)
    if after == before:
        return
    with changed(bundle, name, after), pytest.raises(BundleError):
        load_bundle(bundle)


@tries(25)
@given(seed=seeds)
def test_bundles_with_files_in_each_others_place(bundle: Path, seed: int) -> None:
    rng = random.Random(seed)
    names = sorted(path.name for path in bundle.iterdir())
    name, other = rng.sample(names, 2)
    with changed(bundle, name, (bundle / other).read_bytes()), pytest.raises(BundleError):
        load_bundle(bundle)
    if name != MANIFEST:
        with forged(bundle, name, (bundle / other).read_bytes()):
            loaded(bundle)


@tries(80)
@given(seed=seeds)
def test_forged_manifests(bundle: Path, seed: int) -> None:
    rng = random.Random(seed)
    manifest = mutated(orjson.loads((bundle / MANIFEST).read_bytes()), rng)
    with changed(bundle, MANIFEST, sealed(manifest)):
        loaded(bundle)


def test_a_manifest_cannot_name_files_elsewhere(bundle: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(b"{}")
    manifest = orjson.loads((bundle / MANIFEST).read_bytes())
    described = {"sha256": hashlib.sha256(b"{}").hexdigest(), "bytes": 2}
    manifest["files"] = {str(secret): described, f"../{secret.name}": described}
    with changed(bundle, MANIFEST, sealed(manifest)), pytest.raises(BundleError):
        load_bundle(bundle)


@tries(150)
@given(seed=seeds, name=st.sampled_from(_JSON_PARTS))
def test_forged_parts(bundle: Path, seed: int, name: str) -> None:
    rng = random.Random(seed)
    tree = mutated(orjson.loads((bundle / name).read_bytes()), rng)
    with forged(bundle, name, orjson.dumps(tree)):
        loaded(bundle)


@pytest.mark.parametrize("name", _TENSOR_PARTS)
@tries(40)
@given(seed=seeds)
def test_forged_tensors(bundle: Path, name: str, seed: int) -> None:
    rng = random.Random(seed)
    raw = (bundle / name).read_bytes()
    (size,) = struct.unpack("<Q", raw[:8])
    header, content = orjson.loads(raw[8 : 8 + size]), raw[8 + size :]
    match rng.randrange(4):
        case 0:
            tensor = rng.choice(sorted(header) or ["t"])
            shape = [[2**40, 2**40], [-1], [2**62, 4], [0], [], [1, 2, 3], ["a"]]
            header[tensor] = {**header.get(tensor, {"dtype": "F32"}), "shape": rng.choice(shape)}
        case 1:
            header = mutated(header, rng)
        case 2:
            spoilt = np.frombuffer(content, np.uint8).copy()
            spoilt[rng.randrange(97) :: 97] = rng.choice((0, 255, 127))
            content = spoilt.tobytes()
        case _:
            for tensor in header:
                header[tensor] = {**header[tensor], "dtype": rng.choice(["F64", "I8", "BF16", "BOOL", "X"])}
    head = orjson.dumps(header)
    size = rng.choice([len(head)] * 8 + [2**62, 0, 10**8])
    with memory_within(64 * MIB), forged(bundle, name, struct.pack("<Q", size) + head + content):
        loaded(bundle)


def test_the_bundle_is_as_it_was(bundle: Path) -> None:
    assert load_bundle(bundle).application == "orders"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fuzzed") / "checkpoint"
    save_checkpoint(
        Checkpoint(
            arguments={"seed": "1"}, position={"line": 7}, parts={"keys": np.arange(9), "state": {"a": [1, CANARY]}}
        ),
        directory,
    )
    return directory / "000001"


@tries(80)
@given(seed=seeds)
def test_changed_checkpoints_are_refused(checkpoint: Path, seed: int) -> None:
    hostile = Hostile(seed)
    name = hostile.random.choice([path.name for path in sorted(checkpoint.iterdir())])
    before = (checkpoint / name).read_bytes()
    after = hostile.bytes(before)
    if after == before:
        return
    with changed(checkpoint, name, after), pytest.raises(CheckpointError):
        load_checkpoint(checkpoint.parent)


@tries(120)
@given(seed=seeds)
def test_forged_checkpoints(checkpoint: Path, seed: int) -> None:
    rng = random.Random(seed)
    manifest = mutated(orjson.loads((checkpoint / "checkpoint.json").read_bytes()), rng)
    with changed(checkpoint, "checkpoint.json", sealed(manifest)):
        said = ""
        try:
            load_checkpoint(checkpoint.parent)
        except CheckpointError as error:
            said = str(error)
        assert CANARY not in said


def test_a_checkpoint_cannot_name_files_elsewhere(checkpoint: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.json"
    secret.write_bytes(b'{"key":1}')
    manifest = orjson.loads((checkpoint / "checkpoint.json").read_bytes())
    digest = hashlib.sha256(secret.read_bytes()).hexdigest()
    for file in (str(secret), f"../../../{secret.parent.name}/{secret.name}"):
        manifest["parts"]["state"] = {"file": file, "dtype": "", "bytes": 9, "sha256": digest}
        with changed(checkpoint, "checkpoint.json", sealed(manifest)), pytest.raises(CheckpointError, match="damaged"):
            load_checkpoint(checkpoint.parent)


_LINES = (
    b'{"body":"a b","time_unix_nano":5,"session":"s","source":"h"}',
    b'{"body":5,"time_unix_nano":5}',
    b'{"body":"a","time_unix_nano":"x"}',
    b'{"body":"a","time_unix_nano":1e300}',
    b'{"body":"a","time_unix_nano":-5}',
    b'{"body":"a","time_unix_nano":99999999999999999999}',
    b'{"body":"a","time_unix_nano":true}',
    b'{"body":"a","time_unix_nano":5,"session":[1],"source":{}}',
    b'{"body":null,"time_unix_nano":null}',
    b"[]",
    b'"text"',
    b"5",
    b"{",
    b"\xff\xfe",
    b"",
    b"[" * 5_000,
)


def _read_all(directory: Path) -> int:
    count = 0
    for batch in read_sample(directory):
        assert all(isinstance(text, str) for text in (*batch.bodies, *batch.sessions, *batch.sources))
        count += len(batch)
    newest = newest_entries(directory, stop=SamplePlace(segment=99, offset=0), entries=3, span_ns=0)
    assert len(newest) <= 3
    return count


@tries(60)
@given(lines=st.lists(st.sampled_from(_LINES), max_size=8), seed=seeds, is_closed=st.booleans())
def test_odd_samples(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], seed: int, is_closed: bool) -> None:
    directory = tmp_path_factory.mktemp("sample")
    content = b"\n".join([*lines, _LINES[0]]) + b"\n"
    if is_closed:
        packed = zstandard.compress(content)
        (directory / "000001-3.jsonl.zst").write_bytes(packed)
        assert _read_all(directory) == lines.count(_LINES[0]) + 1
        (directory / "000001-3.jsonl.zst").write_bytes(Hostile(seed).bytes(packed))
    else:
        (directory / "000001.jsonl").write_bytes(content)
        assert _read_all(directory) == lines.count(_LINES[0]) + 1
        (directory / "000001.jsonl").write_bytes(Hostile(seed).bytes(content))
    (directory / "nonsense-1.jsonl").write_bytes(b"x")
    (directory / "99999999999999999999999-x.jsonl.zst").write_bytes(b"x")
    _read_all(directory)


def test_a_bomb_in_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MAX_SEGMENT_BYTES", 8 * MIB)
    bomb = zstandard.compress(_LINES[0] + b"\n" + bytes(128 * MIB))
    assert len(bomb) < MIB
    (tmp_path / "000001-1.jsonl.zst").write_bytes(bomb)
    with memory_within(48 * MIB):
        assert _read_all(tmp_path) == 1
