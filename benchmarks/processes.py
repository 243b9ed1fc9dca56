"""A server process that can be killed, restarted and away, always at the same address."""

import signal
import socket
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType

from benchmarks.harness import PROGRAM, start_event


class Restarting:
    """Runs ``deeplog-grpc serve`` meanwhile.

    Parameters
    ----------
    bundle : Path
        The model.
    state : Path
        Folder of its state, kept over restarts.
    options : str
        More of its command line.
    """

    def __init__(self, bundle: Path, state: Path, *options: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._command = [PROGRAM, "serve", "--model", str(bundle), "--state", str(state), "--listen", self.address]
        for receiver in ("otlp_http", "forward"):  # their ports may be taken
            self._command += ["--set", f"receivers.{receiver}.listen=null"]
        self._command += ["--set", "metrics.listen=null", *options]
        self._process: subprocess.Popen[str] | None = None
        self.stops = 0
        """How often it was stopped while it served."""

    def __enter__(self) -> "Restarting":
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it and start it again."""
        self.stops += 1
        self._stop(signal.SIGKILL)
        self._start()

    def restart(self) -> None:
        """Ask it to stop, and start it again."""
        self.stops += 1
        self._stop(signal.SIGTERM)
        self._start()

    def pause(self, seconds: float) -> None:
        """Let it stand still for a while."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)
            time.sleep(seconds)
            self._process.send_signal(signal.SIGCONT)

    def away(self, seconds: float) -> None:
        """Kill it and start it again after a while."""
        self.stops += 1
        self._stop(signal.SIGKILL)
        time.sleep(seconds)
        self._start()

    def _start(self) -> None:
        self._process = process = subprocess.Popen(self._command, stderr=subprocess.PIPE, text=True)
        start_event(process)
        threading.Thread(target=_read_all, args=(process,), daemon=True).start()

    def _stop(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(number)
            process.wait()


def _read_all(process: "subprocess.Popen[str]") -> None:
    """Read what it logs: unread, it would fill the pipe and stop the server."""
    for _ in process.stderr or ():
        pass
