"""What is known of an application survives restarts, whatever its name."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from deeplog_grpc.storage import application_folders, folder_name, is_application_name, new_folder
from deeplog_grpc.storage.application_folder import RECORD


@given(st.text(min_size=1, max_size=128))
def test_a_folder_is_one_safe_name(name: str) -> None:
    found = folder_name(name)
    assert 0 < len(found) <= 100
    assert "/" not in found
    assert found not in (".", "..")
    assert found.isascii()


@given(st.lists(st.text("./~aA_ -", min_size=1, max_size=5), unique=True, max_size=20))
def test_different_applications_have_different_folders(names: list[str]) -> None:
    assert len({folder_name(name) for name in names}) == len(names)


def test_names_are_short_and_printable() -> None:
    assert all(map(is_application_name, ["a", "shop/orders", "日本", "x" * 128, "..", "a b"]))
    assert not any(map(is_application_name, ["", " a", "a\n", "a\x00b", "x" * 129, "日" * 43, "\u202ea"]))


def test_a_record_is_read_back(tmp_path: Path) -> None:
    folder = new_folder(tmp_path, "../a", begun_ns=7)
    assert list(application_folders(tmp_path)) == []
    folder.write(bundle="model-3", refusal="too little")
    new_folder(tmp_path, "b", begun_ns=5).write()
    found = list(application_folders(tmp_path))
    assert [one.record.application for one in found] == ["b", "../a"]
    assert found[1].record == folder.record
    assert found[1].bundle == folder.directory / "model-3"


def test_a_damaged_record_is_passed_over_and_logged(tmp_path: Path) -> None:
    for name, content in (("a", b"{"), ("b", b"[]"), ("c", b"{}")):
        folder = new_folder(tmp_path, name, begun_ns=1)
        folder.write()
        (folder.directory / RECORD).write_bytes(content)
    with capture_logs() as logs:
        assert list(application_folders(tmp_path)) == []
    assert [one["log_level"] for one in logs] == ["error"] * 3


def test_only_the_bundle_in_force_is_kept(tmp_path: Path) -> None:
    folder = new_folder(tmp_path, "a", begun_ns=1)
    folder.write(bundle="model-2")
    for name in ("model-1", "model-2", ".model-in-force", "sample"):
        (folder.directory / name).mkdir()
    folder.clear()
    assert sorted(path.name for path in folder.directory.iterdir() if path.is_dir()) == ["model-2", "sample"]
