"""What a shipper has done since it started."""

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class Counts:
    """Figures for the lines of status. Each is written by one thread."""

    files: int = 0
    """Followed now."""
    lines_read: int = 0
    bytes_read: int = 0
    lines_cut: int = 0
    """Longer than `max_line_bytes`."""
    lost_bytes: int = 0
    """Known to have been there, and removed or truncated before they were read."""
    lines_lost: int = 0
    """Read from standard input, and not kept, because the spool was full until the end."""
    records_received: int = 0
    """By the Forward protocol; those of a chunk that came again do not count."""
    chunks_repeated: int = 0
    batches_sent: int = 0
    """Those sent again count again."""
    entries_acknowledged: int = 0
    """Judged or refused by the server."""
    entries_repeated: int = 0
    """Those among them that the server had judged before, and answered from memory."""
    anomalies: int = 0
    dead_lettered: int = 0
    """Refused by the server."""
    connections: int = 0
    is_connected: bool = False
