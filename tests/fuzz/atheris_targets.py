"""Coverage-guided fuzzing of what reads foreign bytes, for as long as one likes.

``python -m tests.fuzz.atheris_targets forward --seconds 600 [--corpus FOLDER]`` ends with code 0 if nothing was found;
what was found is written beside the corpus. Needs atheris, which has wheels for Linux only.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["deeplog_grpc.ingest", "deeplog_grpc.storage.redaction", "msgpack"]):
    from deeplog_grpc.errors import InputError
    from deeplog_grpc.ingest import IngestConfig, RecordIngest, Records, RoutingConfig
    from deeplog_grpc.ingest.applications import FixedApplications
    from deeplog_grpc.ingest.compression import decompress
    from deeplog_grpc.ingest.forward import ForwardDecoder
    from deeplog_grpc.ingest.forward_handshake import check_ping, read_hello
    from deeplog_grpc.ingest.lines import LineReader
    from deeplog_grpc.ingest.otlp import decode_logs
    from deeplog_grpc.ingest.otlp_json import decode_logs_json
    from deeplog_grpc.ingest.vector import decode_events
    from deeplog_grpc.storage.redaction import Redactor
    from deeplog_grpc.storage.redaction_config import RedactionConfig

MAX_BYTES = 1 << 20
_ARRIVAL_NS = 1_714_557_600_000_000_000
_INGEST = RecordIngest(FixedApplications(["app", "other"]), IngestConfig(), RoutingConfig())
_REDACTOR = Redactor(RedactionConfig(built_in=("email", "ip", "credit_card", "credentials")))


def _divide(records: Records) -> None:
    for part in _INGEST.ingest(records, arrival_ns=_ARRIVAL_NS).parts:
        for text in (*part.batch.bodies, *part.batch.sessions, *part.batch.sources):
            text.encode()


def _forward(raw: bytes) -> None:
    for message in ForwardDecoder(max_message_bytes=MAX_BYTES, max_records=1_000).feed(raw):
        _divide(message.records)


def _handshake(raw: bytes) -> None:
    read_hello(raw)
    check_ping(raw, nonce=b"n", auth_salt=b"s", shared_key="k", users={"u": "p"}, hostname="server")


def _compression(raw: bytes) -> None:
    for kind in ("gzip", "zstd"):
        try:
            decompress(raw, kind, max_bytes=MAX_BYTES)
        except InputError:
            continue


def _redaction(raw: bytes) -> None:
    once = _REDACTOR.text(raw.decode(errors="surrogateescape"))
    if _REDACTOR.text(once) != once:
        raise AssertionError("redacting again changes the text")


TARGETS: dict[str, Callable[[bytes], object]] = {
    "forward": _forward,
    "handshake": _handshake,
    "compression": _compression,
    "otlp": lambda raw: _divide(decode_logs(raw, {})),
    "otlp_json": lambda raw: _divide(decode_logs_json(raw, {})),
    "vector": lambda raw: _divide(decode_events(raw, {}).records),
    "lines": lambda raw: LineReader(source="s", reference_ns=_ARRIVAL_NS).read(
        raw.decode(errors="replace").split("\n")
    ),
    "redaction": _redaction,
}


def main() -> None:
    """Fuzz one target; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, default=None, help="kept from run to run [default: none is]")
    chosen = parser.parse_args()
    read = TARGETS[chosen.target]

    def tried(raw: bytes) -> None:
        try:
            read(raw)
        except InputError:
            return

    corpus = chosen.corpus or Path(tempfile.mkdtemp(prefix=f"fuzz-{chosen.target}-"))
    corpus.mkdir(parents=True, exist_ok=True)
    options = [f"-max_total_time={chosen.seconds}", "-max_len=8192", "-rss_limit_mb=2048", "-timeout=20"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus.parent}/{chosen.target}-", str(corpus)], tried)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
