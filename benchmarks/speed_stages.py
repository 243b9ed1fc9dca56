"""What each stage of a served message costs, from its bytes to those of the answer: ns an entry, and its share.

Raw HDFS lines in messages of 1,000, in one process on one core, without a network. The first part of the log trains,
the rest is scored; each run has a new detector, so that its caches are cold. Stages that the path calls one after the
other are timed where they are called; those inside a call are timed by wrapping the functions named in ``INNER``, and a
stage has what its functions take less what the wrapped functions inside them take.
"""

import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.harness import console
from benchmarks.load import entries_of
from benchmarks.served import trained
from benchmarks.speed_measuring import Collecting, medians, on_one_core, spread
from deeplog_grpc.detection import Detector
from deeplog_grpc.ingest import FixedApplications, IngestConfig, RoutingConfig
from deeplog_grpc.models import set_threads
from deeplog_grpc.serving.requests import RequestReader
from deeplog_grpc.serving.scoring import ScoringWorker
from deeplog_grpc.storage import load_bundle
from deeplog_grpc.v1 import deeplog_service_pb2 as pb

RUNS = 5
BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of the path, in its order."""

    name: str
    what: str
    functions: tuple[str, ...] = ()
    """``module:name`` of what is wrapped; none = timed where it is called."""


STAGES = (
    Stage(
        name="decode",
        what="bytes to a message",
        functions=("deeplog_grpc.ingest:LenientDecoder.__call__", "deeplog_grpc.ingest:LenientDecoder.plain"),
    ),
    Stage(name="ingest", what="message to columns"),
    Stage(name="parse", what="bodies to log keys", functions=("deeplog_grpc.parsing:Parser.parse",)),
    Stage(
        name="identify",
        what="sessions, units, event time",
        functions=("deeplog_grpc.detection.reading:Reader.read_parsed",),
    ),
    Stage(
        name="walk",
        what="each entry's step in its session",
        functions=("deeplog_grpc.detection.tracker:SessionTracker.judge",),
    ),
    Stage(
        name="lstm",
        what="windows never seen",
        functions=("deeplog_grpc.models:LogKeyModel.read", "deeplog_grpc.models:LogKeyModel.place"),
    ),
    Stage(name="judge", what="transitions never seen", functions=("deeplog_grpc.detection.states:StateGraph.resolve",)),
    Stage(name="values", what="numbers and times", functions=("deeplog_grpc.detection.values:ValueJudge.judge",)),
    Stage(name="columns", what="verdicts as columns", functions=("deeplog_grpc.detection:VerdictBatch.of",)),
    Stage(name="evidence", what="of anomalies", functions=("deeplog_grpc.detection:VerdictBatch.verdict",)),
    Stage(name="answer", what="the response; the rest of the worker"),
    Stage(name="serialise", what="response to bytes"),
    Stage(name="garbage", what="cyclic, collected by the clock"),
)
INNER = {function: stage.name for stage in STAGES for function in stage.functions}


class Stopwatch:
    """Processor time by stage; a stage inside another is not counted to the outer one."""

    def __init__(self) -> None:
        self.ns: defaultdict[str, int] = defaultdict(int)
        self._inner_ns = [0]

    def call(self, stage: str, function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call and time a function."""
        self._inner_ns.append(0)
        started = time.thread_time_ns()
        try:
            return function(*arguments, **named)
        finally:
            took = time.thread_time_ns() - started
            self.ns[stage] += took - self._inner_ns.pop()
            self._inner_ns[-1] += took

    @contextmanager
    def inside(self, functions: dict[str, str]) -> Iterator[None]:
        """Time the functions, named ``module:name``, as stages wherever they are called; then put them back."""
        before: list[tuple[Any, str, Any]] = []
        try:
            for path, stage in functions.items():
                owner, name, found = _found(path, stage)
                before.append((owner, name, found))
                setattr(owner, name, self._timed(stage, found))
            yield
        finally:
            for owner, name, found in before:
                setattr(owner, name, found)

    def _timed(self, stage: str, found: Any) -> Any:
        function = found.__func__ if isinstance(found, classmethod) else found

        @wraps(function)
        def timed(*arguments: Any, **named: Any) -> Any:
            return self.call(stage, function, *arguments, **named)

        return classmethod(timed) if isinstance(found, classmethod) else timed


def _found(path: str, stage: str) -> tuple[Any, str, Any]:
    """The class, the name and what the class has under it."""
    module, _, name = path.partition(":")
    kind, _, method = name.partition(".")
    owner = getattr(importlib.import_module(module), kind, None)
    if owner is None or method not in vars(owner):
        raise SystemExit(f"stage {stage}: there is no {path} any more; say in {__name__}.STAGES what does it now")
    return owner, method, vars(owner)[method]


def run_stages(bundle: Path, messages: Sequence[bytes]) -> dict[str, int]:
    """Nanoseconds of each stage, over all messages, with cold caches."""
    model = load_bundle(bundle)
    reader = RequestReader(FixedApplications([model.application]), IngestConfig(), RoutingConfig())
    worker = ScoringWorker({model.application: Detector(model)})
    watch, collecting = Stopwatch(), Collecting()
    with watch.inside(INNER):
        for message in messages:
            job = watch.call("ingest", reader.score_job, message)
            (reply,) = watch.call("answer", worker, [job])
            if not isinstance(reply, pb.ScoreResponse):
                raise TypeError(f"a message was not answered: {reply}")
            watch.call("serialise", reply.SerializeToString)
            watch.call("garbage", collecting.between_messages)
    collecting.stop()
    return watch.ns


def run(data: Path) -> dict[str, Any]:
    """Cost and share of each stage: median, least and most of some runs."""
    material = trained(data)
    entries = entries_of(material.stream.read_text().splitlines())
    options = pb.ScoreOptions(selection=pb.VERDICT_SELECTION_ANOMALIES)
    messages = [
        pb.ScoreRequest(entries=entries[at : at + BATCH], options=options).SerializeToString()
        for at in range(0, len(entries), BATCH)
    ]
    set_threads(1)
    with on_one_core():
        run_stages(material.bundle, messages[:10])  # a warm-up of the program, not of a detector
        runs = [run_stages(material.bundle, messages) for _ in range(RUNS)]
    costs = {stage.name: [found[stage.name] / len(entries) for found in runs] for stage in STAGES}
    totals = [sum(found.values()) / len(entries) for found in runs]
    _show(costs, totals)
    figures = {"stages_entries": len(entries), **spread("stages_total_ns", totals)}
    for name, values in costs.items():
        figures |= spread(f"stage_{name}_ns", values)
    shares = {f"stage_{name}_share": value / sum(medians(costs).values()) for name, value in medians(costs).items()}
    return {**figures, **shares}


def _show(costs: dict[str, list[float]], totals: list[float]) -> None:
    table = Table("stage", "", "ns an entry", "least", "most", "share", title="stages, HDFS", title_justify="left")
    middle = medians(costs)
    for stage in STAGES:
        values, share = costs[stage.name], middle[stage.name] / sum(middle.values())
        numbers = (f"{value:,.0f}" for value in (middle[stage.name], min(values), max(values)))
        table.add_row(stage.name, stage.what, *numbers, f"{share:.1%}")
    table.add_row("total", "", f"{medians({'': totals})['']:,.0f}", f"{min(totals):,.0f}", f"{max(totals):,.0f}", "")
    console.print(table)
