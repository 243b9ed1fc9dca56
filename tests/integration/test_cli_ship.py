"""``deeplog-grpc ship`` as a program: exit codes, and errors of one line."""

from pathlib import Path

import pytest

from deeplog_grpc.cli import main
from deeplog_grpc.storage import Spool


def run(monkeypatch: pytest.MonkeyPatch, *arguments: Path | str) -> int:
    monkeypatch.setattr("sys.argv", ["deeplog-grpc", "ship", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "ship.files: nothing to ship"),
        (("no.log",), "no.log: no such file"),
        ((".",), ".: is a folder: give a quoted glob"),
        (("*.log", "--server", "nowhere"), "ship.server: 'nowhere' is not HOST:PORT"),
        (("*.log", "--set", "ship.batch_entries=0"), "ship.batch_entries: "),
        (("*.log", "--annotate", "no/folder"), "no/folder: cannot be written"),
        (("--forward", "nowhere"), "ship.forward.listen: "),
        (("--forward", "127.0.0.1:0", "--once"), "ship.forward.listen: has no end at which --once could stop"),
        (("*.log", "--spool", "held"), "held: the spool is in use by another process"),
        (("*.log", "--spool", "text"), "text: the spool cannot be used"),
    ],
)
def test_what_the_caller_can_mend_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text").write_text("no database " * 100)
    spool = Spool(tmp_path / "held", max_bytes=1, sync="off")
    try:
        assert run(monkeypatch, *arguments) == 2
    finally:
        spool.close()
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line


def test_once_with_nothing_new_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "*.log", "--server", "127.0.0.1:1", "--once") == 0
