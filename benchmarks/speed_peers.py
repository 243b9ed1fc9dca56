"""Beside others in one run: Drain3 (parsing), a window-at-a-time predictor (detection), a bare LSTM (the limit).

Detection is given log keys: sessions of HDFS key sequences side by side as in a stream, caches cold, each session
judged at its end too; parsing is not timed, and no evidence is asked for. The predictor does what public DeepLog code
does for each entry: one-hot window of ten, LSTM of 2 x 64, linear layer, the nine most probable keys, one window a
call.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor, nn

from benchmarks.feedback import Sequences, text_of
from benchmarks.harness import console
from benchmarks.hdfs import only
from benchmarks.parse import SPEED_SETS, Runner, drain3_python, read_lines, write_json
from benchmarks.speed_measuring import Collecting, alternately, cpu_s, medians, on_one_core, spread
from deeplog_grpc.cli.evaluate import read_sequences
from deeplog_grpc.detection import ApplicationModel, Detector, EntryBatch
from deeplog_grpc.models import ThresholdConfig, set_threads

RUNS = 3
SESSIONS = 30_000
"""Drawn from all, the abnormal ones among them."""
SIDE_BY_SIDE = 1_000
BATCH = 1_000
HISTORY, HIDDEN, LAYERS, CANDIDATES, EMBEDDING = 10, 64, 2, 9, 32
SINGLE_WINDOWS = 1_000
LSTM_BATCH, LSTM_BATCHES = 512, 20


def run(data: Path) -> dict[str, Any]:
    """Rates and ratios."""
    with tempfile.TemporaryDirectory() as work, on_one_core():
        figures: dict[str, Any] = parsing(data, Path(work))
        return {**figures, **detection(data / "hdfs_sequences")}


def parsing(data: Path, work: Path) -> dict[str, float]:
    """Processor time of Drain3 as a multiple of ours: raw lines, both cold, both with their defaults."""
    runner = Runner(drain3_python(work / "drain3"))
    table = Table("log", "lines", "lines/s", "Drain3", "ratio", title="parsing", title_justify="left")
    ratios: dict[str, float] = {}
    figures: dict[str, float] = {}
    for name, pattern in SPEED_SETS.items():
        content = [line for path in sorted(data.glob(pattern)) for line in read_lines(path)]
        if not content:
            continue
        seconds = runner.cpu_s(write_json(work, content))
        rates = {parser: len(content) / found for parser, found in seconds.items()}
        figures[f"parse_{name}_lines_per_s"] = rates["ours"]
        if "drain3" in rates:
            ratios[name] = figures[f"parse_{name}_ratio_drain3"] = rates["ours"] / rates["drain3"]
        peer = [f"{rates['drain3']:,.0f}", f"{ratios[name]:.2f}"] if name in ratios else ["-", "-"]
        table.add_row(name, f"{len(content):,}", f"{rates['ours']:,.0f}", *peer)
    console.print(table)
    if "hdfs" in ratios:
        figures |= {"parse_ratio_drain3": ratios["hdfs"], "parse_ratio_drain3_min": min(ratios.values())}
    return figures


def detection(folder: Path) -> dict[str, float]:
    """Entries and windows a second."""
    set_threads(1)
    model = Sequences(read_sequences(only(folder, "hdfs_train*"))).trained(ThresholdConfig())
    tests = [only(folder, f"hdfs_test_{kind}*") for kind in ("normal", "abnormal")]
    sessions = [keys for path in tests for keys in read_sequences(path)]
    chance = random.Random(0)
    chosen = chance.sample(sessions, min(SESSIONS, len(sessions)))
    stream = list(_side_by_side(chosen))
    windows = [keys[at : at + HISTORY] for keys in chosen for at in range(len(keys) - HISTORY)][:SINGLE_WINDOWS]
    torch.manual_seed(0)
    rates = alternately(
        {
            "detect_entries_per_s": lambda: _detect_rate(model, stream),
            "window_at_a_time_entries_per_s": lambda: _single_rate(windows, max(map(max, sessions)) + 1),
            "lstm_512_windows_per_s": lambda: _lstm_rate(LSTM_BATCH, LSTM_BATCHES),
            "lstm_1_windows_per_s": lambda: _lstm_rate(1, SINGLE_WINDOWS),
        },
        RUNS,
    )
    table = Table("detection", "a second", "least", "most", title_justify="left")
    figures: dict[str, float] = {"detect_entries": len(stream), "detect_novelty": _novelty(chosen)}
    for name, values in rates.items():
        figures |= spread(name, values)
        table.add_row(name, *(f"{value:,.0f}" for value in spread(name, values).values()))
    console.print(table)
    middle = medians(rates)
    ratio = middle["detect_entries_per_s"] / middle["window_at_a_time_entries_per_s"]
    return {**figures, "detect_ratio_window_at_a_time": ratio}


def _side_by_side(sessions: Sequence[Sequence[int]]) -> Iterator[tuple[str, int, bool]]:
    """Name, key and whether it is the last one, of sessions in turn; one that has ended makes room for the next."""
    waiting = ((f"s{number}", iter(keys), len(keys)) for number, keys in enumerate(sessions))
    open_ones = list(islice(waiting, SIDE_BY_SIDE))
    while open_ones:
        going_on: list[tuple[str, Iterator[int], int]] = []
        for name, keys, left in open_ones:
            yield name, next(keys), left == 1
            going_on += [(name, keys, left - 1)] if left > 1 else islice(waiting, 1)
        open_ones = going_on


def _novelty(sessions: Sequence[Sequence[int]]) -> float:
    """Share of the entries whose window did not come before."""
    windows = [tuple(keys[max(0, at - HISTORY) : at]) for keys in sessions for at in range(len(keys))]
    return len(set(windows)) / len(windows)


def _detect_rate(model: ApplicationModel, stream: Sequence[tuple[str, int, bool]]) -> float:
    """Entries a second that a new detector judges, their log keys given."""
    detector, collecting = Detector(model), Collecting()
    seconds = 0.0
    for start in range(0, len(stream), BATCH):
        rows = stream[start : start + BATCH]
        batch = EntryBatch.of([text_of(key) for _, key, _ in rows], sessions=[name for name, _, _ in rows])
        parsed = detector.parse(batch.bodies)
        ended = [name for name, _, is_last in rows if is_last]
        started = time.thread_time()
        detector.score_parsed(batch, parsed).anomalies()
        if ended:
            detector.flush(ended)
        collecting.between_messages()
        seconds += time.thread_time() - started
    collecting.stop()
    return len(stream) / seconds


class _WindowAtATime(nn.Module):
    """As public code has it."""

    def __init__(self, keys: int) -> None:
        super().__init__()
        self._keys = keys
        self.lstm = nn.LSTM(keys, HIDDEN, LAYERS, batch_first=True)
        self.output = nn.Linear(HIDDEN, keys)

    def forward(self, window: Tensor) -> Tensor:
        """LongTensor [1, h] -> the most probable keys, LongTensor [1, g]."""
        states, _ = self.lstm(nn.functional.one_hot(window, self._keys).float())
        best: Tensor = torch.log_softmax(self.output(states[:, -1]), dim=-1).topk(CANDIDATES).indices
        return best


def _single_rate(windows: Sequence[Sequence[int]], keys: int) -> float:
    """Windows a second, one a call."""
    network = _WindowAtATime(keys).eval()

    def predict() -> None:
        with torch.no_grad():
            for window in windows:
                network(torch.tensor([window])).tolist()

    return len(windows) / cpu_s(predict)


def _lstm_rate(batch: int, batches: int) -> float:
    """Windows a second of the LSTM and nothing else."""
    network = nn.LSTM(EMBEDDING, HIDDEN, LAYERS, batch_first=True).eval()
    windows = torch.zeros(batch, HISTORY, EMBEDDING)
    step: Callable[[Tensor], object] = network

    def predict() -> None:
        with torch.inference_mode():
            for _ in range(batches):
                step(windows)

    predict()
    return batch * batches / cpu_s(predict)
