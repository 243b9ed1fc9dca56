import hashlib
import json
import os
import shutil
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import orjson
import pytest

from deeplog_grpc import __version__
from deeplog_grpc.detection import ApplicationModel, Detector, SessionConfig
from deeplog_grpc.errors import BundleError, InputError
from deeplog_grpc.models import LogKeyModel, ThresholdConfig
from deeplog_grpc.parsing import Parser
from deeplog_grpc.storage import check_place, load_bundle, read_info, save_bundle
from deeplog_grpc.storage.bundle import FORMAT, MANIFEST, PARSER, WEIGHTS, WORKFLOW, _sealed
from deeplog_grpc.testing import Fault
from deeplog_grpc.workflow import NO_WORKFLOW, Workflow
from tests.trained import ends, fresh_detector, joined, order, rows
from tests.workflows import ALL, CHOICE, SEQUENCE

FILES = [
    "config.json",
    "key_model.json",
    "key_model.safetensors",
    "manifest.json",
    "parser.json",
    "profile.json",
    "report.json",
    "sessions.safetensors",
    "values.json",
    "values.safetensors",
    "workflow.json",
]


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """A bundle that the test may damage."""
    return Path(shutil.copytree(bundle, tmp_path / "model"))


def refusal(directory: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(directory)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def neighbours(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.parent.iterdir())


def test_a_bundle_is_these_files(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == FILES


def test_a_loaded_model_gives_the_same_verdicts(trained: ApplicationModel, bundle: Path) -> None:
    batch = joined(
        *(order(seed) for seed in range(5)), *(order(seed, fault=fault) for seed in (7, 8) for fault in Fault)
    )
    original, loaded = fresh_detector(trained), fresh_detector(load_bundle(bundle))
    assert rows(loaded.score(batch)) == rows(original.score(batch))
    assert ends(loaded.flush()) == ends(original.flush())


def test_all_that_is_not_weights_survives(trained: ApplicationModel, bundle: Path) -> None:
    loaded = load_bundle(bundle)
    assert (loaded.application, loaded.version, loaded.timeout_s) == ("orders", 3, trained.timeout_s)
    assert loaded.sessions == trained.sessions
    assert loaded.key_model.config == trained.key_model.config
    assert loaded.key_model.vocabulary == trained.key_model.vocabulary
    assert loaded.behaviour.calibration == trained.behaviour.calibration
    assert loaded.behaviour.profile.to_json() == trained.behaviour.profile.to_json()
    assert loaded.parser.templates() == trained.parser.templates()


@pytest.mark.parametrize("workflow", [*ALL.values(), NO_WORKFLOW])
def test_a_workflow_survives(trained: ApplicationModel, tmp_path: Path, workflow: Workflow) -> None:
    save_bundle(replace(trained, workflow=workflow), tmp_path / "model", report={})
    loaded = load_bundle(tmp_path / "model").workflow
    assert (loaded.tasks, loaded.follows, loaded.sessions) == (workflow.tasks, workflow.follows, workflow.sessions)
    assert np.isnan(loaded.fitness)


@pytest.mark.parametrize("damage", ["edges", "states", "block", "shortest"])
def test_a_workflow_that_is_none_is_refused_though_its_checksum_is_right(
    trained: ApplicationModel, tmp_path: Path, damage: str
) -> None:
    save_bundle(replace(trained, workflow=CHOICE), tmp_path / "model", report={})
    workflow = orjson.loads((tmp_path / "model" / WORKFLOW).read_bytes())
    del workflow["tasks"][0][damage]
    _replace_part(tmp_path / "model", WORKFLOW, orjson.dumps(workflow))
    assert damage in refusal(tmp_path / "model")


def test_a_workflow_with_a_state_that_nothing_reaches_is_refused(trained: ApplicationModel, tmp_path: Path) -> None:
    save_bundle(replace(trained, workflow=SEQUENCE), tmp_path / "model", report={})
    workflow = orjson.loads((tmp_path / "model" / WORKFLOW).read_bytes())
    del workflow["tasks"][0]["edges"][1]
    _replace_part(tmp_path / "model", WORKFLOW, orjson.dumps(workflow))
    assert "workflow: state " in refusal(tmp_path / "model")


def _replace_part(directory: Path, name: str, content: bytes) -> None:
    """With a manifest that tells the new one's checksum."""
    (directory / name).write_bytes(content)
    manifest = orjson.loads((directory / MANIFEST).read_bytes())
    manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    del manifest["sha256"]
    (directory / MANIFEST).write_bytes(_sealed(manifest))


def test_options_at_their_limits_survive(trained: ApplicationModel, tmp_path: Path) -> None:
    pinned = ThresholdConfig(false_positive_rate=0.5, key=inf, end=0.0)
    behaviour = replace(
        trained.behaviour,
        key_model=LogKeyModel.from_weights(
            replace(trained.key_model.config, candidates=1), trained.key_model.vocabulary, trained.key_model.weights()
        ),
        calibration=replace(trained.behaviour.calibration, config=pinned),
    )
    sessions = SessionConfig(patterns=("é(.)",), end_patterns=("x",), timeout_s=0.0, built_in=False)
    model = replace(trained, behaviour=behaviour, sessions=sessions, timeout_s=0.0)
    save_bundle(model, tmp_path / "model", report={})
    loaded = load_bundle(tmp_path / "model")
    assert loaded.key_model.config == behaviour.key_model.config
    assert loaded.behaviour.calibration == behaviour.calibration
    assert loaded.sessions == sessions


def test_the_same_model_gives_the_same_bytes(trained: ApplicationModel, bundle: Path, tmp_path: Path) -> None:
    save_bundle(trained, tmp_path / "model", report={"entries": 1})
    for name in FILES:
        assert (tmp_path / "model" / name).read_bytes() == (bundle / name).read_bytes()


def test_what_a_bundle_says_of_itself(bundle: Path) -> None:
    info = read_info(bundle)
    assert (info.application, info.version, dict(info.report)) == ("orders", 3, {"entries": 1})
    assert info.written_by == f"deeplog-grpc {__version__}"
    assert info.bytes > (bundle / WEIGHTS).stat().st_size


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert refusal(copy).startswith(f"{copy / name}: cannot be read")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(copy: Path, name: str, share: float) -> None:
    path = copy / name
    os.truncate(path, int(path.stat().st_size * share))
    assert refusal(copy).startswith(f"{path}: ")


@pytest.mark.parametrize("name", FILES)
def test_one_byte_less_or_more_is_noticed(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    for changed in (content[:-1], content + b"\n"):
        (copy / name).write_bytes(changed)
        assert refusal(copy).startswith(f"{copy / name}: ")


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_at_any_place_is_noticed(copy: Path, name: str) -> None:
    path = copy / name
    content = path.read_bytes()
    places = range(0, len(content), 1 if name == MANIFEST else max(1, len(content) // 20))
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        assert refusal(copy).startswith(f"{path}: "), place


def test_a_newer_format_is_named_even_if_all_else_in_it_is_strange(copy: Path) -> None:
    (copy / MANIFEST).write_bytes(orjson.dumps({"format": FORMAT + 1, "parts": []}))
    assert refusal(copy) == f"{copy / MANIFEST}: has format {FORMAT + 1}; this release reads format {FORMAT}"


@pytest.mark.parametrize("content", ["[]", "null", "{}", '"x"', '{"format": 1}', '{"format": 1, "files": []}', "\x00"])
def test_a_strange_manifest_is_refused(copy: Path, content: str) -> None:
    (copy / MANIFEST).write_text(content)
    assert refusal(copy).startswith(f"{copy / MANIFEST}: ")


def test_files_of_another_bundle_are_noticed(copy: Path, trained: ApplicationModel, tmp_path: Path) -> None:
    save_bundle(replace(trained, application="others"), tmp_path / "other", report={})
    shutil.copy(tmp_path / "other" / "report.json", copy / "report.json")
    assert "report.json" in refusal(copy)


def test_a_folder_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    assert "is not there: give the folder that 'deeplog-grpc train --out' wrote" in refusal(tmp_path / "none")


def test_a_file_in_the_place_of_the_folder_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert "is not there" in refusal(tmp_path / "file")


def test_a_bundle_is_replaced_and_nothing_is_left_over(copy: Path, trained: ApplicationModel) -> None:
    (copy / "stale.json").write_text("{}")
    save_bundle(replace(trained, version=4), copy, report={})
    assert load_bundle(copy).version == 4
    assert sorted(path.name for path in copy.iterdir()) == FILES
    assert neighbours(copy) == ["model"]


def test_a_damaged_bundle_may_be_replaced(copy: Path, trained: ApplicationModel) -> None:
    (copy / WEIGHTS).write_bytes(b"")
    save_bundle(trained, copy, report={})
    assert load_bundle(copy).version == 3


def test_parent_folders_are_made(tmp_path: Path, trained: ApplicationModel) -> None:
    save_bundle(trained, tmp_path / "a" / "b" / "model", report={})
    assert load_bundle(tmp_path / "a" / "b" / "model").application == "orders"


def test_an_empty_folder_is_a_place(tmp_path: Path, trained: ApplicationModel) -> None:
    (tmp_path / "model").mkdir()
    save_bundle(trained, tmp_path / "model", report={})
    assert load_bundle(tmp_path / "model").application == "orders"
    assert neighbours(tmp_path / "model") == ["model"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, trained: ApplicationModel) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cat.jpg").write_text("meow")
    with pytest.raises(InputError, match="photos: is there and is not a model bundle: give another place"):
        check_place(photos)
    with pytest.raises(InputError, match="photos: is there and is not a model bundle"):
        save_bundle(trained, photos, report={})
    assert [path.name for path in photos.iterdir()] == ["cat.jpg"]
    assert neighbours(photos) == ["photos"]


def test_a_file_is_left_alone(tmp_path: Path, trained: ApplicationModel) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(InputError, match="is not a model bundle"):
        save_bundle(trained, tmp_path / "file", report={})
    assert (tmp_path / "file").read_text() == "precious"


def test_a_crash_between_the_two_renames_leaves_the_old_bundle(copy: Path, trained: ApplicationModel) -> None:
    copy.rename(copy.with_name(".model.previous"))
    assert load_bundle(copy).version == 3
    assert read_info(copy).version == 3
    save_bundle(replace(trained, version=9), copy, report={})
    assert load_bundle(copy).version == 9
    assert neighbours(copy) == ["model"]


@pytest.mark.parametrize("call", range(1, 8))
def test_an_error_of_the_disk_leaves_the_old_bundle_and_no_temporary_folder(
    copy: Path, trained: ApplicationModel, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    calls: list[int] = []
    fsync = os.fsync

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == call:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(InputError, match="cannot write the model bundle: No space left on device"):
        save_bundle(replace(trained, version=4), copy, report={})
    monkeypatch.undo()
    assert len(calls) == call
    assert load_bundle(copy).version == 3
    assert neighbours(copy) == ["model"]


def test_a_rename_that_fails_leaves_the_old_bundle(
    copy: Path, trained: ApplicationModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if "unfinished" in self.name:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(InputError, match="Input/output error"):
        save_bundle(replace(trained, version=4), copy, report={})
    monkeypatch.undo()
    assert load_bundle(copy).version == 3
    assert not [name for name in neighbours(copy) if "unfinished" in name]


def test_what_a_killed_process_of_the_same_number_left_is_no_obstacle(
    tmp_path: Path, trained: ApplicationModel
) -> None:
    left = tmp_path / f".model.unfinished-{os.getpid()}"
    left.mkdir()
    (left / "half").write_text("x")
    save_bundle(trained, tmp_path / "model", report={})
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == FILES
    assert neighbours(tmp_path / "model") == ["model"]


def test_no_code_is_stored(bundle: Path) -> None:
    for name in FILES:
        content = (bundle / name).read_bytes()
        if not name.endswith(".safetensors"):
            assert isinstance(json.loads(content), dict)
        assert not content.startswith(b"\x80")  # how a pickle begins


def test_a_detector_changes_no_bundle(bundle: Path) -> None:
    before = {name: (bundle / name).read_bytes() for name in FILES}
    Detector(load_bundle(bundle)).score(order(1))
    assert {name: (bundle / name).read_bytes() for name in FILES} == before


def test_weights_of_other_log_keys_are_refused(trained: ApplicationModel, tmp_path: Path) -> None:
    """A parser that gave its keys in another order would turn every verdict; all its checksums may be right."""
    parser = Parser()
    parser.parse([template.text.replace("<*>", "7") for template in reversed(trained.parser.templates())])
    save_bundle(trained, tmp_path / "model", report={})
    foreign = tmp_path / "foreign"
    save_bundle(replace(trained, parser=parser), foreign, report={})
    shutil.copy(foreign / PARSER, tmp_path / "model" / PARSER)
    manifest = orjson.loads((tmp_path / "model" / MANIFEST).read_bytes())
    manifest["files"][PARSER] = orjson.loads((foreign / MANIFEST).read_bytes())["files"][PARSER]
    del manifest["sha256"]
    (tmp_path / "model" / MANIFEST).write_bytes(_sealed(manifest))
    with pytest.raises(BundleError, match="log keys are not those"):
        load_bundle(tmp_path / "model")
