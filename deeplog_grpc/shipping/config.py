"""What is shipped, from where, and how."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from deeplog_grpc.receivers.config import ForwardConfig, Secret
from deeplog_grpc.storage import SyncPolicy

LineFormat = Literal["auto", "raw", "json", "docker", "cri"]


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ForwardInputConfig(ForwardConfig):
    """The Forward protocol as an input of the shipper; raises as the receiver's.

    Examples
    --------
    >>> ForwardInputConfig(listen="127.0.0.1:24224").self_hostname
    'deeplog-grpc'
    """

    section: ClassVar[str] = "ship.forward"

    listen: str | None = None
    """Address and port, `HOST:PORT`; port 0 = any free one, null = do not listen."""
    shared_key: Secret | None = None
    """What every sender must know; null = senders are not asked. Better given by the variable
    DEEPLOG_GRPC_SHIP__FORWARD__SHARED_KEY than in a file."""
    max_message_bytes: Annotated[int, Field(ge=2**10, le=2**30)] = 16 * 2**20
    """Bytes of one message, and of its entries when it is compressed. Fluent Bit's have 2 MiB, Fluentd's as many as its
    `chunk_limit_size`. While it is read, a message takes several times its bytes of memory."""


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class ShipConfig:
    """The shipper: what it reads, where it spools, and to whom it sends.

    Examples
    --------
    >>> ShipConfig(files=("/var/log/app/*.log",)).batch_entries
    1000
    """

    files: tuple[str, ...] = ()
    """Paths and globs of log files, which are followed; `-` = standard input. Compressed files are passed over."""
    exclude: tuple[str, ...] = ()
    """Globs of paths that are not read."""
    format: LineFormat = "auto"
    """`raw` = text, `json` = text or JSON objects, `docker` = Docker's json-file, `cri` = Kubernetes; `auto` = by the
    first line of each file."""
    start: Literal["beginning", "end"] = "beginning"
    """Where files begin that are there at the very first start. Those that appear later begin at the beginning."""
    forward: ForwardInputConfig = ForwardInputConfig()
    """The Forward protocol as an input: what Fluent Bit, Fluentd, Docker's fluentd driver or a fluent logger send is
    acknowledged when it is in the spool."""
    server: str = "127.0.0.1:50051"
    """HOST:PORT of the server."""
    application: str = ""
    """Application of lines that name none. Empty = the server finds it, by attributes or because it has only one.
    Given, it is that of all that comes by the Forward protocol."""
    host: str = ""
    """What stands before the path in the source of entries. Empty = the name of this host."""
    spool: Path = Path("deeplog-ship.spool")
    """File in which lines wait that the server has not answered, and the places up to which files are read."""
    max_spool_mb: Annotated[int, Field(ge=16, le=1_000_000)] = 1_024
    """Mebibytes that may wait. When the spool is full, files wait, and standard input blocks."""
    sync: SyncPolicy = "normal"
    """What spooled lines survive: `full` a loss of power, `normal` a kill, `off` a kill at less cost. After a loss of
    power, lines of files are read again with `normal`; with `off` the spool may be damaged."""
    batch_entries: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """Lines in a message to the server, at most."""
    batch_mb: Annotated[float, Field(gt=0, le=16)] = 1.0
    """Mebibytes in a message, at most; one line always fits."""
    batch_s: Annotated[float, Field(ge=0, le=10)] = 0.2
    """Seconds that the first line of standard input waits for more."""
    poll_s: Annotated[float, Field(gt=0, le=60)] = 0.25
    """Seconds between two looks at the files while nothing is new."""
    max_line_bytes: Annotated[int, Field(ge=64, le=2**20)] = 65_536
    """Longer lines are cut to this, and counted. A server takes no more by default (`ingest.max_body_bytes`)."""
    partial_line_s: Annotated[float, Field(gt=0, le=3_600)] = 5.0
    """Seconds after which a last line without a line end is taken for whole."""
    rotated_grace_s: Annotated[float, Field(ge=0, le=86_400)] = 10.0
    """Seconds for which a file that was rotated or removed is kept open after it last grew."""
    max_open_files: Annotated[int, Field(ge=1, le=100_000)] = 512
    """Files that are kept open. One beyond that is opened to be read; if it is removed before, its end is lost."""
    annotate: str = ""
    """File to which every entry is written as a JSON line with its verdict; `-` = standard output. Empty = nowhere."""
    annotate_anomalies: bool = False
    """Whether only anomalies are written there."""
    dead_letters: Path | None = None
    """File for entries that the server refuses, as JSON lines with the reason. null = beside the spool, with
    `.dead.jsonl` after its name."""
    max_dead_letters_mb: Annotated[int, Field(ge=1, le=100_000)] = 64
    """Mebibytes of it; then it is kept as `.1`, and an older `.1` goes."""
    answer_timeout_s: Annotated[float, Field(gt=0, le=3_600)] = 120.0
    """Seconds without any answer to what was sent, after which the shipper connects anew and sends it again."""
    max_backoff_s: Annotated[float, Field(gt=0, le=3_600)] = 30.0
    """The longest wait before the next attempt to connect."""
    status_s: Annotated[float, Field(gt=0, le=86_400)] = 10.0
    """Seconds between two lines of status."""
    stop_grace_s: Annotated[float, Field(ge=0, le=3_600)] = 10.0
    """Seconds that answers are waited for after SIGTERM. What is not answered stays in the spool."""
