"""The program as the first process of a container."""

import os
import signal
import sys

import pytest

from deeplog_grpc.cli import app as module


@pytest.mark.parametrize(("pid", "handles"), [(1, True), (4711, False)])
def test_the_first_process_of_a_container_ends_when_told_before_it_serves(
    monkeypatch: pytest.MonkeyPatch, pid: int, handles: bool
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(os, "getpid", lambda: pid)
    monkeypatch.setattr(module, "app", lambda: None)
    try:
        module.main()
        handler = signal.getsignal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (handler is not before) == handles
    if callable(handler) and handles:
        with pytest.raises(SystemExit) as ended:
            handler(signal.SIGTERM, sys._getframe())
        assert ended.value.code == 143
