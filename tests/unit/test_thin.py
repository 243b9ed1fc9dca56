"""What does not judge or train must not pay for torch: a shipper stands beside every log."""

import subprocess
import sys
from typing import Any

import pytest

from deeplog_grpc.cli.app import COMMANDS, loaded

_CHECK = "import sys; assert 'torch' not in sys.modules, 'torch was imported'"


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120)
    assert not done.returncode, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["shipping", "client", "settings", "receivers.forward"])
def test_a_thin_module_does_not_import_torch(module: str) -> None:
    _run(f"import deeplog_grpc.{module}; {_CHECK}")


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--help"], "applications"),
        (["ship", "--help"], "--annotate"),
        (["config"], "max_spool_mb"),
        (["anomalies", "--help"], "unmute"),
    ],
)
def test_a_thin_command_does_not_import_torch(arguments: list[str], shown: str) -> None:
    program = (
        f"import contextlib\nfrom deeplog_grpc.cli import main\nwith contextlib.suppress(SystemExit): main()\n{_CHECK}"
    )
    assert shown in _run(program, *arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_listed_as_its_own_help_begins(name: str) -> None:
    command: Any = loaded(name)
    assert command.name == name
    assert " ".join(command.help.split("\n\n")[0].split()) == COMMANDS[name]


@pytest.mark.parametrize(("name", "shows_help"), [("serve", False), ("ship", False), ("train", True), ("score", True)])
def test_a_command_without_arguments_starts_if_it_needs_none(name: str, shows_help: bool) -> None:
    command: Any = loaded(name)
    assert command.no_args_is_help is shows_help
