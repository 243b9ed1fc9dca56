"""All outputs of a server: made of the configuration, started and stopped together."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from deeplog_grpc.outputs.config import AlertOutput, FileOutput, ForwardOutput, OtlpOutput, Output, RecordOutput
from deeplog_grpc.outputs.dead_letters import DeadLetters
from deeplog_grpc.outputs.file import FileSender
from deeplog_grpc.outputs.followers import AlertFollower, Follower, RecordFollower
from deeplog_grpc.outputs.forward import ForwardSender
from deeplog_grpc.outputs.otlp import OtlpSender
from deeplog_grpc.outputs.passthrough import Passthrough, QueueRunner, RecordQueue
from deeplog_grpc.outputs.positions import Positions
from deeplog_grpc.outputs.runner import OutputRunner
from deeplog_grpc.outputs.senders import Sender
from deeplog_grpc.outputs.shapes import OutRecord
from deeplog_grpc.outputs.web import web_sender
from deeplog_grpc.storage import AnomalyStore
from deeplog_grpc.storage.redaction import Redactor

POSITIONS = "outputs.sqlite"
QUEUES = "outputs"
DEAD_LETTERS = "dead-letters"
GRACE_S = 5.0
_MIB = 1 << 20

_log = structlog.get_logger("deeplog_grpc.outputs")


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputStatus:
    """How an output is doing. Counts are since the start."""

    name: str
    is_failing: bool
    """Whether the last try failed."""
    sent: int
    """Records or notifications that the other side took."""
    refused: int
    """Those that became dead letters."""
    missed: int
    """Anomalies that went before they were sent, or records for which there was no room."""
    retries: int
    """Tries that failed and were made again."""
    waiting: int
    """Anomalies, or batches of records, that wait."""


class Outputs:
    """The outputs of a server.

    Make them before anything is scored: what is stored from then on goes out.

    Parameters
    ----------
    config : mapping of str to Output
        By name.
    store : AnomalyStore
    directory : Path
        The state folder.
    newest : callable
        Number of the latest anomaly stored, without waiting for anything (``AnomalyRecorder.last_number``).
    grace_s : float
        Seconds that what is there has to go out when the server stops; what is left waits on disk.
    redactor : Redactor, optional
        Takes secrets out of records that are passed on as anomalies; what is stored has none any more.

    Raises
    ------
    StateError
        If a file in the folder is damaged, in use, or of a newer format.
    """

    def __init__(
        self,
        config: Mapping[str, Output],
        store: AnomalyStore,
        directory: Path,
        *,
        newest: Callable[[], int],
        grace_s: float = GRACE_S,
        redactor: Redactor | None = None,
    ) -> None:
        self._config = config
        self._store = store
        self._directory = directory
        self._newest = newest
        self._grace_s = grace_s
        self._positions = Positions(directory / POSITIONS, last_number=newest())
        self._runners: list[OutputRunner[Any]] = []
        self._queues: dict[str, RecordQueue] = {}
        try:
            for name, output in config.items():
                if isinstance(output, RecordOutput) and output.what == "records":
                    self._queues[name] = RecordQueue(
                        name, output, directory / QUEUES / f"{name}.spool", redactor=redactor
                    )
        except BaseException:
            self._close()
            raise

    @property
    def sink(self) -> Passthrough | None:
        """Takes every record with its answer; None = no output wants records."""
        return Passthrough(list(self._queues.values())) if self._queues else None

    async def start(self) -> None:
        """Begin to send.

        Raises
        ------
        ConfigError
            If a certificate cannot be read.
        """
        self._runners = [self._runner(name, output) for name, output in self._config.items()]
        for runner in self._runners:
            runner.start()
        if self._runners:
            _log.info("outputs", names=sorted(self._config))

    async def stop(self) -> None:
        """Send what is there within the grace time, and close."""
        try:
            await asyncio.gather(*(runner.stop(self._grace_s) for runner in self._runners))
            for status in self.status():
                _log.info("output stopped", **asdict(status))
        finally:
            self._close()

    def status(self) -> list[OutputStatus]:
        """How each output is doing."""
        return [
            OutputStatus(
                name=runner.name,
                is_failing=runner.is_failing,
                sent=runner.sent,
                refused=runner.refused,
                retries=runner.retries,
                waiting=runner.waiting,
                missed=runner.missed if isinstance(runner, Follower) else self._queues[runner.name].dropped,
            )
            for runner in self._runners
        ]

    def _runner(self, name: str, config: Output) -> OutputRunner[Any]:
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"output-{name}")
        letters = config.dead_letters or self._directory / DEAD_LETTERS / f"{name}.jsonl"
        common: dict[str, Any] = {
            "thread": thread,
            "dead_letters": DeadLetters(letters, max_bytes=config.dead_letters_mb * _MIB),
        }
        places = {"store": self._store, "positions": self._positions, "newest": self._newest, **common}
        if isinstance(config, AlertOutput):
            return AlertFollower(name, config, web_sender(name, config), **places)
        if not isinstance(config, RecordOutput):
            raise TypeError(type(config).__name__)
        sender = record_sender(name, config, thread)
        if name in self._queues:
            return QueueRunner(self._queues[name], config, sender, **common)
        return RecordFollower(name, config, sender, **places)

    def _close(self) -> None:
        for queue in self._queues.values():
            queue.spool.close()
        self._positions.close()


def record_sender(name: str, config: RecordOutput, thread: ThreadPoolExecutor) -> Sender[OutRecord]:
    """The sender of an output of log records; in the running event loop."""
    match config:
        case OtlpOutput():
            return OtlpSender(name, config)
        case ForwardOutput():
            return ForwardSender(config)
        case FileOutput():
            return FileSender(config, thread)
        case _:
            raise TypeError(f"{type(config).__name__} sends no records")
