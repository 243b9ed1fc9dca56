"""What training takes, to the accuracy that it reaches, beside a plain implementation.

Both sides run in a process of their own, on two cores. Ours is ``deeplog-grpc evaluate sequences`` on the sessions of
``hdfs_sequences``: screening, key model, session profile, and three more models that calibrate; the seconds are those
of training alone, and the accuracy is that very model's on the test sets. The plain one is DeepLog as public code has
it: windows inside sessions, one-hot input, every window as often as it occurs, nothing calibrated; as many passes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor, nn

from benchmarks.harness import PROGRAM, console
from benchmarks.hdfs import only
from deeplog_grpc.cli.evaluate import read_sequences
from deeplog_grpc.models import KeyModelConfig, Vocabulary, count_windows

RUNS = 3
CORES = 2
HISTORY, LAYERS, HIDDEN, BATCH = 10, 2, 64, 2048
"""Of the plain one."""
CONFIG = KeyModelConfig()


class Plain(nn.Module):
    """One-hot log keys, LSTM layers, a linear layer."""

    def __init__(self, keys: int) -> None:
        super().__init__()
        self.keys = keys
        self.lstm = nn.LSTM(keys, HIDDEN, LAYERS, batch_first=True)
        self.output = nn.Linear(HIDDEN, keys)

    def forward(self, windows: Tensor) -> Tensor:
        """LongTensor [B, h] -> logits [B, keys]."""
        states, _ = self.lstm(nn.functional.one_hot(windows, self.keys).float())
        logits: Tensor = self.output(states[:, -1])
        return logits


def plain_seconds(train: Path) -> float:
    """Seconds that the plain one trains."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    sessions = read_sequences(train)
    started = time.perf_counter()
    pairs = torch.from_numpy(_pairs(sessions))
    network = Plain(int(pairs.max()) + 1)
    optimizer = torch.optim.Adam(network.parameters())
    for _ in range(CONFIG.epochs):
        for rows in torch.split(torch.randperm(len(pairs)), BATCH):
            loss = nn.functional.cross_entropy(network(pairs[rows, :-1]), pairs[rows, -1])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
    return time.perf_counter() - started


def _pairs(sessions: list[list[int]]) -> NDArray[np.int64]:
    """Every window inside a session with the log key that follows, numbered from 0. Shape [n, HISTORY + 1]."""
    numbers = {key: number for number, key in enumerate(sorted({key for keys in sessions for key in keys}))}
    paths = [np.array([numbers[key] for key in keys], np.int64) for keys in sessions if len(keys) > HISTORY]
    return np.concatenate([np.lib.stride_tricks.sliding_window_view(path, HISTORY + 1) for path in paths])


def run(data: Path) -> dict[str, Any]:
    """Seconds of training on both sides, medians; accuracy; windows.

    Raises
    ------
    SystemExit
        If the data folder lacks a file.
    """
    folder = data / "hdfs_sequences"
    train = only(folder, "hdfs_train*")
    ours: list[dict[str, Any]] = []
    plain: list[float] = []
    for _ in range(RUNS):
        ours.append(json.loads(_on_cores(PROGRAM, "evaluate", "sequences", "--json", *_arguments(folder))))
        plain.append(float(_on_cores(sys.executable, "-m", "benchmarks.speed_training", "--plain", str(train))))
    windows, distinct = _windows(read_sequences(train))
    found = {
        "train_s": statistics.median(report["train_s"] for report in ours),
        "train_f1": ours[0]["f1"],
        "train_fn": ours[0]["fn"],
        "train_fp": ours[0]["fp"],
        "train_windows": windows,
        "train_distinct_windows": distinct,
        "plain_train_s": statistics.median(plain),
    }
    table = Table("training", "seconds", "least", "most", title=train.name, title_justify="left")
    for name, seconds in (("ours, calibrated", [report["train_s"] for report in ours]), ("plain", plain)):
        table.add_row(name, *(f"{n:,.1f}" for n in (statistics.median(seconds), min(seconds), max(seconds))))
    table.caption = f"{windows:,} windows, {distinct:,} distinct; F1 {found['train_f1']:.4f}"
    console.print(table)
    return found


def _arguments(folder: Path) -> list[str]:
    files = {"--train": "hdfs_train*", "--normal": "hdfs_test_normal*", "--abnormal": "hdfs_test_abnormal*"}
    return [word for flag, pattern in files.items() for word in (flag, str(only(folder, pattern)))]


def _on_cores(*command: str) -> str:
    """Standard output of a process of its own on two cores, or on the one that there is."""
    cores = sorted(os.sched_getaffinity(0))[:CORES]
    pinned = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, cores)
    )
    return pinned.stdout


def _windows(sessions: list[list[int]]) -> tuple[int, int]:
    """Windows of the sessions, begin and end included, and how many distinct ones they are."""
    vocabulary = Vocabulary.of({key for keys in sessions for key in keys}, reserve=0)
    units = [vocabulary.units(keys) for keys in sessions]
    ends = [CONFIG.begin_end] * len(units)
    counted = count_windows(units, begins=ends, ends=ends, history=CONFIG.history)
    return counted.total, len(counted)


def main() -> None:
    """Print the figures, or be the plain one."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--data", type=Path)
    choice.add_argument("--plain", type=Path, metavar="FILE", help="print the seconds of the plain one alone")
    arguments = parser.parse_args()
    if arguments.plain is not None:
        sys.stdout.write(f"{plain_seconds(arguments.plain)}\n")
        return
    for name, value in run(arguments.data).items():
        console.print(f"{name:24} {value:,.4f}" if isinstance(value, float) else f"{name:24} {value:,}")


if __name__ == "__main__":
    main()
