"""How many anomalies went before an output came to them."""

from collections.abc import Iterable

from deeplog_grpc.storage.anomaly_rows import BOOT_BITS


def count_missing(after: int, before: int, ends: Iterable[int]) -> int:
    """Numbers between two anomalies that were given in the runs of the server.

    Within one run numbers follow one another. Of a run that has ended, ``ends`` holds the last number.

    Parameters
    ----------
    after : int
        What was delivered last.
    before : int
        The first one that is still there.
    ends : iterable of int
        The last number of each earlier run, in any order.

    Returns
    -------
    int
        Those that could not be stored at all are among them.

    Examples
    --------
    >>> run = 1 << 32
    >>> count_missing(run + 3, run + 4, []), count_missing(run + 3, run + 7, [])
    (0, 3)
    >>> count_missing(run + 3, 3 * run + 2, [run + 5, 2 * run + 10])
    13
    """
    if before <= after:
        return 0
    last_of = {end >> BOOT_BITS: end for end in sorted(ends)}
    first_boot, last_boot = after >> BOOT_BITS, before >> BOOT_BITS
    if first_boot == last_boot:
        return before - after - 1
    rest = max(0, last_of.get(first_boot, after) - after)
    whole = sum(end - (boot << BOOT_BITS) for boot, end in last_of.items() if first_boot < boot < last_boot)
    return rest + whole + (before - (last_boot << BOOT_BITS) - 1)
