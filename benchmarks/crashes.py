"""kill -9 in the middle of feedback: children learn and are killed, and after each one it is looked at what is there.

``python -m benchmarks.crashes RUNS SEED`` prints the report as JSON. A process of its own, because it forks: it trains
a small application once, and each child has it from there. A child opens a server's state, judges orders with something
odd in them, accepts feedback on it and applies it, and claims through a pipe each of these calls that has returned. It
is killed at a point that the seed gives: inside SQLite, between two transactions, at a call between the steps of an
update, or inside the gradient steps. Then another child opens the state, as a server that is started again, and says
what it finds.
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import structlog
import torch

import deeplog_grpc.serving.updates as updates
from deeplog_grpc.detection import ApplicationModel, DetectorConfig, Judges
from deeplog_grpc.detection.verdicts import Kind
from deeplog_grpc.feedback import CaseJudge, DriftConfig, FeedbackConfig, Learner, Lesson, StepCase
from deeplog_grpc.ingest import FixedApplications, IngestConfig, RoutingConfig
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import KeyModelConfig, set_threads
from deeplog_grpc.parsing import Parser
from deeplog_grpc.serving import ServerState
from deeplog_grpc.serving.lineage import Meant
from deeplog_grpc.serving.requests import RequestReader
from deeplog_grpc.serving.scoring import ScoringWorker
from deeplog_grpc.serving.state import JOURNAL
from deeplog_grpc.serving.updates import Updater
from deeplog_grpc.storage import AnomalyState, AnomalyStore, Journal, NewRecord, StateConfig, number_of
from deeplog_grpc.storage.database import Database
from deeplog_grpc.testing import Fault, simulate_log
from deeplog_grpc.training import Trainer
from deeplog_grpc.v1 import deeplog_service_pb2 as pb
from deeplog_grpc.v1.log_entry_pb2 import LogEntry

TIMEOUT_S = 1_800
RUNS_OF_A_FOLDER = 10
"""After so many runs the state begins anew: versions build on one another, and updates stay short."""
UPDATES = 3
"""Of a child that is not killed before."""
MAX_INSTRUCTIONS = 12_000
"""Opening takes some 500 of them, an update and its anomalies some 2,000."""
KEPT = 5
"""Snapshots."""
MAX_TRANSACTIONS = 18
"""Opening takes three of them, an update and its anomalies some five."""
MAX_GRADIENT_STEPS = 5
USUAL_SHARE = 0.4
"""Of feedback on a log key in a wrong place: half of it takes some gradient steps, and other feedback none."""
APPLICATION = "orders"
PLACES: list[tuple[Any, str]] = [
    (Journal, "accept"),
    (Journal, "finish"),
    (Journal, "save_parser"),
    (Learner, "learn"),
    (Learner, "accept"),
    (AnomalyStore, "add"),
    (AnomalyStore, "set_state"),
    (AnomalyStore, "open_of"),
    (updates, "pack_snapshot"),
]
"""Calls before or after which a child is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashReport:
    """What was found after kills."""

    runs: int
    kills: int
    """Runs that were killed; the others were over before their point came."""
    acked: int
    """Updates that were claimed to be done."""
    lost: int
    """Claims that did not hold: accepted or done, and not there, or not in force, or anomalies in another state."""
    half_versions: int
    """Versions, records or snapshots that were not whole."""


def run(runs: int, seed: int) -> CrashReport:
    """Kill so many updates, each at a point of its own, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.crashes", str(runs), str(seed)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the runs have ended with {done.returncode}: {done.stderr[-2000:]}")
    return CrashReport(**json.loads(done.stdout))


def train() -> ApplicationModel:
    """A small application."""
    trainer = Trainer()
    trainer.add(LineReader(source="log").read(simulate_log(150, seed=1).lines).batch)
    model, _ = trainer.fit(application=APPLICATION, version=1, seed=1, config=KeyModelConfig(epochs=30, hidden=24))
    return model


def opened(model: ApplicationModel, directory: Path) -> ServerState:
    """The state as a server opens it."""
    return ServerState(
        directory,
        {APPLICATION: (replace(model, parser=Parser.from_state(model.parser.state())), "bundle")},
        state=StateConfig(keep_versions=KEPT),
        feedback=FeedbackConfig(margin=0.05),
        drift=DriftConfig(),
        detector=DetectorConfig(cold_start_s=0.0, cache_mb=8),
    )


def work(
    model: ApplicationModel, directory: Path, chance: random.Random, share: float, claim: Callable[..., None]
) -> None:
    """Accept and apply feedback, and claim what has returned."""
    state = opened(model, directory)
    updater, detector = state.updaters[APPLICATION], state.detectors[APPLICATION]
    worker = ScoringWorker(state.detectors, watch=state.watch)
    reader = RequestReader(FixedApplications((APPLICATION,)), IngestConfig(), RoutingConfig())
    for _ in range(UPDATES):
        if chance.random() < share:
            meant = Meant(numbers=(), lessons=(wrong_step(model, chance),))
        else:
            request = pb.ScoreRequest(entries=odd_order(chance), flush=pb.Flush())
            (answer,) = worker([reader.score_job(request.SerializeToString())])
            if not isinstance(answer, pb.ScoreResponse):
                raise TypeError(answer)
            names = [one.verdict_id for one in (*answer.verdicts, *answer.session_ends) if one.verdict_id]
            found = [one for one in (state.anomalies.get(number_of(name)) for name in names[:1]) if one is not None]
            meant = updater.lineage.meant(found, anywhere=False)
        updater.save_parser(orjson.dumps(detector.parser_state()))
        name = f"f-{chance.getrandbits(64):x}"
        label = "confirmed" if chance.random() < 0.2 else "false_positive"
        content = {"label": label, "base": updater.checksum, **meant.to_json()}
        new = NewRecord(application=APPLICATION, feedback_id=name, kind="feedback", digest=name, content=content)
        record = state.journal.accept(new).record
        claim("accepted", name)
        applied = updater.apply(record)
        if applied.judges is not None:
            detector.adopt(applied.judges)
        claim("acked", name, applied.response.model_version)
    state.close()


def wrong_step(model: ApplicationModel, chance: random.Random) -> Lesson:
    """Any log key after the begin of a session of training."""
    keys = [int(key) for key in chance.choice(model.behaviour.known.replayed).keys]
    window = keys[: chance.randrange(2, len(keys))][-model.key_model.config.history :]
    return Lesson(kind=Kind.EXECUTION_PATH, case=StepCase(window=tuple(window), key=chance.randrange(9)))


def odd_order(chance: random.Random) -> list[LogEntry]:
    """An order with a fault, or with a message that never came before."""
    seed = chance.randrange(1_000)
    if chance.random() < 0.5:
        place = chance.randrange(len(Fault))
        log = simulate_log(place + 1, seed=seed, fault_rate=1.0)
        session = list(log.faults)[place]
        bodies = [line for line in log.lines if session in line]
    else:
        bodies = simulate_log(1, seed=seed).lines
        words = ["".join(chance.choices("abcdefgh", k=6)) for _ in range(5)]
        bodies.insert(len(bodies) // 2, " ".join(words))
    session = f"s-{chance.getrandbits(64):x}"
    return [LogEntry(body=body, session=session) for body in bodies]


def die_at_a_point(chance: random.Random) -> float:
    """Let this process be killed, somewhere; the share of feedback on odd steps that brings it there."""
    match chance.choices(["sqlite", "transactions", "calls", "gradients"], weights=[5, 7, 3, 5])[0]:
        case "sqlite":
            _in_sqlite(int(MAX_INSTRUCTIONS ** chance.random()))
        case "transactions":
            _at_call(Database, "writing", chance.randint(3, MAX_TRANSACTIONS), is_after=False)
        case "calls":
            owner, name = chance.choice(PLACES)
            _at_call(owner, name, chance.randint(1, 2), is_after=chance.random() < 0.5)
        case _:
            _at_call(torch.autograd, "backward", int(MAX_GRADIENT_STEPS ** chance.random()), is_after=True)
            return 1.0
    return USUAL_SHARE


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _in_sqlite(instructions: int) -> None:
    connect: Callable[..., sqlite3.Connection] = sqlite3.connect
    left = instructions

    def count() -> int:
        nonlocal left
        left -= 1
        if left == 0:
            _die()
        return 0

    def watched(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        connection.set_progress_handler(count, 1)
        return connection

    sqlite3.connect = watched  # type: ignore[assignment]  # replaced on purpose, in a child that is about to die


def _at_call(owner: Any, name: str, call: int, *, is_after: bool) -> None:
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not is_after:
            _die()
        result = original(*arguments, **options)
        if calls == call:
            _die()
        return result

    setattr(owner, name, counted)


def found(model: ApplicationModel, directory: Path) -> dict[str, Any]:
    """What a server finds that is started again."""
    before = Journal(directory / JOURNAL, keep_versions=KEPT)
    pending = [record.feedback_id for record in before.pending(APPLICATION)]
    before.close()
    state = opened(model, directory)
    journal, updater = state.journal, state.updaters[APPLICATION]
    records, versions = journal.records(APPLICATION), journal.versions(APPLICATION)
    made = {record.feedback_id: record.version for record in records}
    outcomes = {record.feedback_id: record.outcome["response"] for record in records if record.outcome is not None}
    halves = len(records) - len(outcomes)
    halves += [one.version for one in versions] != list(range(len(versions), 0, -1))
    halves += {one.version for one in versions if one.sequence} != {one for one in made.values() if one}
    halves += sum((name in outcomes) and _is_learned(outcomes[name]) != (made[name] is not None) for name in made)
    halves += updater.model.version != versions[0].version or state.detectors[APPLICATION].model_version != len(
        versions
    )
    for one in versions:
        if one.is_kept:
            try:
                journal.snapshot(APPLICATION, one.version)
            except Exception:
                halves += 1
    return {
        "pending": pending,
        "halves": halves,
        "answered": {name: outcome["model_version"] for name, outcome in outcomes.items()},
        "unlike": _unlike(state, records) + _not_in_force(updater, records),
    }


def _is_learned(outcome: dict[str, Any]) -> bool:
    return bool(outcome["outcome"] == "FEEDBACK_OUTCOME_LEARNED")


def _unlike(state: ServerState, records: list[Any]) -> int:
    """Anomalies in another state than what was said of them last."""
    said: dict[int, int] = {}
    for record in records:
        said.update({int(number): int(told) for number, told in (record.outcome or {"states": []})["states"]})
    stored = {number: state.anomalies.get(number) for number in said}
    return sum(one is not None and one.state != AnomalyState(said[number]) for number, one in stored.items())


def _not_in_force(updater: Updater, records: list[Any]) -> int:
    """Lessons that were learned and are not normal. What was confirmed afterwards is left out."""
    lessons: dict[Lesson, bool] = {}
    for record in records:
        if record.content["label"] == "confirmed" or (record.outcome and _is_learned(record.outcome["response"])):
            for lesson in Meant.from_json(record.content).lessons:
                lessons[lesson] = record.content["label"] != "confirmed"
    learned = [lesson.case for lesson, is_learned in lessons.items() if is_learned]
    return CaseJudge(Judges(updater.model, cache_bytes=0)).normal(learned).count(False)


def in_child(do: Callable[[Callable[..., None]], None]) -> tuple[int, list[str]]:
    """Fork; how the child ended, and the lines that it claimed."""
    read, written = os.pipe()
    child = os.fork()
    if not child:

        def claim(*words: object) -> None:
            os.write(written, f"{' '.join(map(str, words))}\n".encode())

        code = 1
        try:
            do(claim)
            code = 0
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(code)
    os.close(written)
    with os.fdopen(read) as pipe:
        lines = pipe.read().splitlines()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lines


def main(runs: int, seed: int) -> CrashReport:
    """The runs, one after the other."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    set_threads(1)
    model = train()
    kills = acked = lost = halves = 0
    with tempfile.TemporaryDirectory() as place:
        claims: list[list[str]] = []
        for number in range(runs):
            directory = Path(place) / str(number // RUNS_OF_A_FOLDER)
            if number % RUNS_OF_A_FOLDER == 0:
                claims = []
            chance = random.Random(f"{seed} {number}")

            def attempt(claim: Callable[..., None], directory: Path = directory, chance: Any = chance) -> None:
                work(model, directory, chance, die_at_a_point(chance), claim)

            code, lines = in_child(attempt)
            if code not in (0, -signal.SIGKILL):
                raise RuntimeError(f"run {number} has ended with {code}")
            kills += code == -signal.SIGKILL
            claims += [line.split() for line in lines]
            acked += sum(line.startswith("acked") for line in lines)

            def look(claim: Callable[..., None], directory: Path = directory) -> None:
                claim(json.dumps(found(model, directory)))

            code, lines = in_child(look)
            if code:
                raise RuntimeError(f"after run {number} the state cannot be opened: {code}")
            there = json.loads(lines[0])
            halves += there["halves"]
            lost += there["unlike"]
            answered: dict[str, int] = there["answered"]
            lost += sum(name not in answered for _, name, *_ in claims)
            lost += sum(words[0] == "acked" and words[1] in there["pending"] for words in claims)
            lost += sum(answered.get(words[1]) != int(words[2]) for words in claims if words[0] == "acked")
    return CrashReport(runs=runs, kills=kills, acked=acked, lost=lost, half_versions=halves)


if __name__ == "__main__":
    print(json.dumps(asdict(main(int(sys.argv[1]), int(sys.argv[2])))))
