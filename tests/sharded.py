"""Detectors over shards in this process, behind the same bytes as those in processes of their own."""

from dataclasses import replace
from typing import Any

from deeplog_grpc.detection import ApplicationModel, DetectorConfig, SessionConfig
from deeplog_grpc.parsing import Parser
from deeplog_grpc.serving.shard import Shard
from deeplog_grpc.serving.sharded_detector import ShardedDetector
from deeplog_grpc.serving.shards import Shards


class LocalLink:
    """A shard that answers at once."""

    def __init__(self) -> None:
        self.shard: Shard | None = Shard()
        self._reply = b""

    def send(self, content: bytes, /) -> None:
        if self.shard is None:
            raise ConnectionError("closed")
        self._reply = self.shard.answer(content)

    def receive(self) -> bytes:
        if self.shard is None:
            raise ConnectionError("closed")
        return self._reply

    def ask(self, content: bytes, /) -> bytes:
        if self.shard is None:
            raise ConnectionError("closed")
        return self.shard.answer_beside(content)

    def close(self) -> None:
        self.shard = None


def local_shards(count: int) -> Shards:
    return Shards(count, LocalLink)


def sharded_detector(
    model: ApplicationModel,
    shards: Shards,
    *,
    sessions: SessionConfig | None = None,
    timeout_s: float | None = None,
    **config: Any,
) -> ShardedDetector:
    """As :func:`tests.trained.fresh_detector`."""
    model = replace(
        model,
        parser=Parser.from_state(model.parser.state()),
        sessions=sessions or model.sessions,
        timeout_s=model.timeout_s if timeout_s is None else timeout_s,
    )
    return ShardedDetector(model, DetectorConfig(**{"cold_start_s": 0.0, **config}), shards)
