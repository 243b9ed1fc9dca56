"""Labels of evaluation data: in the lines themselves, or a table of sessions."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.detection.identifiers import compile_patterns, cut
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.files import read_chunks
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.training.labelled import ABNORMAL, NORMAL, UNKNOWN, LabelledEntries

NORMAL_LABELS = ("-", "0", "normal", "false", "no", "")
"""Labels that mean normal where the user names none; upper and lower case are the same."""


class LineLabel:
    r"""Finds the label of a line and takes it out: whoever judges the line must not see it.

    Parameters
    ----------
    expression : str
        Regular expression (RE2); its first group, or else the whole match, is the label. The whole match is taken out.
    normal : sequence of str
        Labels that mean normal.

    Raises
    ------
    ConfigError
        If it is not a regular expression.

    Examples
    --------
    >>> label = LineLabel(r"^(\S+) ", NORMAL_LABELS)
    >>> label.take("- ciod: started"), label.take("APPREAD ciod: failed"), label.take("alone")
    (('ciod: started', 0), ('ciod: failed', 1), ('alone', -1))
    """

    def __init__(self, expression: str, normal: Sequence[str]) -> None:
        (self._pattern,) = compile_patterns([expression], field="--line-label")
        self._normal = _folded(normal)

    def take(self, line: str) -> tuple[str, int]:
        """The line without its label, and what the label says; a line in which nothing is found has no label."""
        match: Any = self._pattern.search(line)
        if match is None:
            return line, UNKNOWN
        text = match.group(self._pattern.group) or ""
        start, stop = match.span()
        return line[:start] + line[stop:], NORMAL if text.strip().lower() in self._normal else ABNORMAL


def read_entries(paths: Sequence[str], label: LineLabel | None, reference_ns: Sequence[int]) -> LabelledEntries:
    """The entries of log files, in order.

    Parameters
    ----------
    reference_ns : sequence of int
        A time near that of each log, for time stamps without a year.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    batches, labels = [], []
    for path, near_ns in zip(paths, reference_ns, strict=True):
        reader = LineReader(source=path, reference_ns=near_ns)
        for chunk in read_chunks(path):
            taken = [label.take(line) if label else (line, UNKNOWN) for line in chunk.lines]
            read = reader.read([line for line, _ in taken])
            batches.append(read.batch)
            labels += [taken[number][1] for number in read.numbers]
    return LabelledEntries(batch=EntryBatch.concat(batches), labels=np.array(labels, np.int8))


def read_session_labels(path: Path, normal: Sequence[str]) -> dict[str, bool]:
    """Session -> whether it is abnormal, from a CSV file with a head line.

    The columns are those named ``session`` and ``label``, else the first two.

    Raises
    ------
    InputError
        If the file cannot be read, has too few columns or no row, or gives a session two labels.
    """
    folded = _folded(normal)
    found: dict[str, bool] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            names, labels = _columns(next(rows, []), path)
            for row in rows:
                if not row:
                    continue
                if len(row) <= max(names, labels):
                    raise InputError("has fewer columns than the head line", field=f"{path}:{rows.line_num}")
                session, abnormal = cut(row[names].strip()), row[labels].strip().lower() not in folded
                if found.setdefault(session, abnormal) != abnormal:
                    raise InputError(f"session '{session}' has another label before", field=f"{path}:{rows.line_num}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", field=str(path)) from error
    if not found:
        raise InputError(
            "holds no session: a head line 'session,label' and a session a line are needed", field=str(path)
        )
    return found


def _columns(head: Sequence[str], path: Path) -> tuple[int, int]:
    """Places of the sessions and of their labels."""
    names = [name.strip().lower() for name in head]
    if "session" in names and "label" in names:
        return names.index("session"), names.index("label")
    if len(names) < 2:
        raise InputError("needs a head line with two columns, such as 'session,label'", field=str(path))
    return 0, 1


def _folded(labels: Sequence[str]) -> frozenset[str]:
    return frozenset(label.strip().lower() for label in labels)
