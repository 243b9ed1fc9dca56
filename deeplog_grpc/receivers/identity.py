"""Names of deliveries whose protocol has none: what they hold, and where they came from."""

import hashlib
from collections.abc import Iterable, Mapping

from deeplog_grpc.ingest import Records
from deeplog_grpc.ingest.forward import HEADER_PREFIX
from deeplog_grpc.ingest.native import text
from deeplog_grpc.serving.delivery import Key

_SECOND_NS = 1_000_000_000


def content_key(kind: str, raw: bytes, records: Records, headers: Mapping[str, str], peer: str) -> Key | None:
    """The name of a delivery, the same when it is sent again; None where equal bytes do not tell that.

    They do where every record says when it was made. A single record with a time in whole seconds says too little: a
    line may well be written twice in a second.

    Parameters
    ----------
    kind : str
        Of the protocol.
    raw : bytes
        The request, not compressed.
    headers : mapping of str to str
        As :func:`deeplog_headers`.
    peer : str
        Address of the sender without the port, which is another one when it connects again.

    Examples
    --------
    >>> records = Records(bodies=["a"], times_ns=[5], attributes=[{}], origins=[None])
    >>> content_key("otlp", b"raw", records, {}, "::1") == content_key("otlp", b"raw", records, {}, "::2")
    False
    """
    if not records or not records.all_have_times:
        return None
    if len(records) == 1 and records.times_ns[0] % _SECOND_NS == 0:
        return None
    named = "\0".join(f"{name}={value}" for name, value in sorted(headers.items()))
    return (kind, hashlib.sha256(raw).digest(), named, peer)


def deeplog_headers(pairs: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    """Those of the headers or metadata of a request that are meant for this project.

    Examples
    --------
    >>> deeplog_headers([("X-Deeplog-Source", "node-1"), ("authorization", "secret")])
    {'x-deeplog-source': 'node-1'}
    """
    lowered = ((name.lower(), value) for name, value in pairs)
    return {
        # What is not UTF-8 comes from HTTP as halves of surrogate pairs, which are no text.
        name: value if value.isascii() else text(value.encode(errors="surrogateescape"))
        for name, value in lowered
        if name.startswith(HEADER_PREFIX) and isinstance(value, str)
    }
