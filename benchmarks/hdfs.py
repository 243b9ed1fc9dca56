"""HDFS block logs as benchmark input: a folder with raw lines (``*.log.gz``) and labels (``*labels*.csv``)."""

import csv
import gzip
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from deeplog_grpc.parsing import HeadTimestamps

_BLOCK = re.compile(r"blk_-?\d+")
_STAMP = "%y%m%d %H%M%S"
_STAMP_CHARACTERS = 13
_PAUSE = timedelta(seconds=30)
"""Between two repetitions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HdfsSplit:
    """Raw lines cut at a share of the time span."""

    train: list[str]
    """Lines up to the cut, those of normal blocks unless asked for all."""
    rest: list[str]
    """All lines after it."""
    begun: dict[str, bool]
    """Blocks whose first line is in the rest -> whether they are abnormal."""
    running: dict[str, bool]
    """Blocks that were running at the cut: their beginnings, and maybe what was abnormal, lie before it."""


def split_raw(folder: Path, share: float, *, learn_abnormal: bool = False) -> HdfsSplit:
    """Cut a raw log in time.

    Parameters
    ----------
    share : float
        Part of the time span that is for training, in (0, 1).
    learn_abnormal : bool
        Leave the lines of abnormal blocks in the training lines.
    """
    log, labels_file = only(folder, "*.log.gz"), only(folder, "*labels*.csv")
    with labels_file.open() as file:
        abnormal = {row["block_id"]: row["label"] != "Normal" for row in csv.DictReader(file)}
    with gzip.open(log, "rt") as lines_file:
        lines = lines_file.read().splitlines()
    times_ns, _ = HeadTimestamps().split(lines)
    cut_ns = times_ns[0] + share * (times_ns.max() - times_ns[0])
    late = (times_ns > cut_ns).tolist()
    blocks = [block_of(line) for line in lines]
    early_blocks = {block for block, is_late in zip(blocks, late, strict=True) if not is_late}
    late_blocks = {block for block, is_late in zip(blocks, late, strict=True) if is_late}
    rows = list(zip(lines, blocks, late, strict=True))
    return HdfsSplit(
        train=[line for line, block, is_late in rows if not is_late and (learn_abnormal or not abnormal[block])],
        rest=[line for line, _, is_late in rows if is_late],
        begun={block: abnormal[block] for block in late_blocks - early_blocks},
        running={block: abnormal[block] for block in late_blocks & early_blocks},
    )


def block_of(line: str) -> str:
    """The block that a line is about."""
    found = _BLOCK.search(line)
    if found is None:
        raise ValueError(f"a line names no block: {line[:80]!r}")
    return found.group()


def repeated(lines: list[str], times: int, *, first: int = 1) -> list[str]:
    """The lines several times over, each time later and with other blocks: every repetition holds new sessions.

    Parameters
    ----------
    first : int
        Number of the first repetition, >= 1. Two repetitions of one number are the same.

    Examples
    --------
    >>> repeated(["081109 203615 INFO got blk_7", "081109 203645 INFO end blk_7"], 1, first=2)
    ['081109 203815 INFO got blk_72', '081109 203845 INFO end blk_72']
    """
    stamps = {line[:_STAMP_CHARACTERS] for line in lines}
    moments = {stamp: datetime.strptime(stamp, _STAMP) for stamp in stamps}  # only differences count
    later = max(moments.values()) - min(moments.values()) + _PAUSE
    found: list[str] = []
    for number in range(first, first + times):
        shifted = {stamp: (moment + number * later).strftime(_STAMP) for stamp, moment in moments.items()}
        found += (
            shifted[line[:_STAMP_CHARACTERS]] + _BLOCK.sub(rf"\g<0>{number}", line[_STAMP_CHARACTERS:])
            for line in lines
        )
    return found


def only(folder: Path, pattern: str) -> Path:
    """The one file of that form."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise SystemExit(f"{folder}: expected one file {pattern}, found {len(found)}")
    return found[0]


def write_lines(path: Path, lines: list[str]) -> Path:
    """Write lines to a file."""
    path.write_text("".join(f"{line}\n" for line in lines))
    return path
