"""Detection on labelled logs other than HDFS, beside simple rules: ``python -m benchmarks.sets --data FOLDER``.

Everything is learned from normal data alone, with the one default configuration, and split by time: what is judged
comes after what was learned from, except where a set says otherwise. What is known here of a data set is how to read
it and where its labels are.
"""

import argparse
import csv
import gzip
import json
import re
import tarfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import console, write_results
from deeplog_grpc.cli.comparison import table
from deeplog_grpc.cli.labels import NORMAL_LABELS, LineLabel, read_entries
from deeplog_grpc.detection import ApplicationModel, Detector, DetectorConfig, EntryBatch, SessionConfig
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.models import KeyModelConfig, ThresholdConfig, TrainingSession, fit_behaviour, set_threads
from deeplog_grpc.training import (
    Comparison,
    LabelledEntries,
    SequenceScorer,
    SimpleRules,
    Trainer,
    evaluate_entries,
    evaluate_sequences,
    judge_entries,
    session_names,
    session_paths,
)
from deeplog_grpc.training.labelled import BATCH_ENTRIES, NORMAL, UNKNOWN
from deeplog_grpc.training.metrics import Judged, Labelled
from deeplog_grpc.training.sequences import by_kind, combined

INSTANCE = r"\[instance: ([0-9a-f-]{36})\]"
KALAKI_SHARE = 0.6
"""Share of the normal VMs, by the order of their first lines, that is learned from."""
BGL_SHARE = 0.1
"""Nearly all alarms of the sample lie between 10 % and 40 % of it: a later cut leaves none to find."""
HADOOP_NORMAL_RUNS = 4
"""Of 6 normal runs these come first and are learned from."""
NEZHA_FAULTS = 7
"""Of 14 faults these come first: the minutes before their injections are learned from, nothing after them."""
ADFA_SHARE = 2 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Sessions judged, and groups of them: a group is flagged when one of its sessions is."""

    sessions: Comparison
    groups: Comparison


def openstack_kalaki(data: Path) -> dict[str, Any]:
    """Sessions are VMs; lines without one are judged, not counted. The log has no time stamps."""
    folder = data / "openstack_kalaki"
    with (folder / "instance_labels.csv").open(newline="") as file:
        abnormal = {row["instance"]: row["label"] != "Normal" for row in csv.DictReader(file)}
    entries = read_entries([str(folder / "openstack-nova-sample.log")], None, [0])
    config = SessionConfig(patterns=(INSTANCE,))
    names = session_names(entries.batch, config)
    first = {name: row for row, name in reversed([*enumerate(names)])}
    normal = sorted((name for name, is_bad in abnormal.items() if not is_bad and name in first), key=first.__getitem__)
    learned = set(normal[: round(KALAKI_SHARE * len(normal))])
    cut = first[normal[len(learned)]]
    early = np.array([name in learned or (name not in abnormal and row < cut) for row, name in enumerate(names)])
    # A request that begins before the cut may go on after it: it is no new session there.
    began = {name for name, is_early in zip(names, early, strict=True) if is_early}
    late = np.array([name not in began for name in names])
    train = entries.take(early).batch
    report = evaluate_entries(
        trained(train, config),
        train=train,
        test=entries.take(late),
        sessions=abnormal,
        **_limits(),
    )
    return figures("openstack_kalaki", report.sessions)


def hadoop(data: Path) -> dict[str, Any]:
    """A session is a container's log; a run is flagged when one of its containers is. Figures are those of runs.

    There are too few normal runs to cut by time alone: all abnormal runs are judged, also those before the last run
    learned from.
    """
    folder = data / "hadoop"
    with (folder / "application_labels.csv").open(newline="") as file:
        abnormal = {row["application"]: row["label"] != "Normal" for row in csv.DictReader(file)}
    logs: dict[str, dict[str, list[str]]] = {run: {} for run in sorted(abnormal)}
    with tarfile.open(folder / "hadoop_logs.dev.tar.gz") as archive:
        for member in archive.getmembers():
            file_of = archive.extractfile(member)
            if file_of is not None:
                logs[member.name.split("/")[0]][member.name] = file_of.read().decode(errors="replace").splitlines()
    normal = [run for run in logs if not abnormal[run]]
    learned = normal[:HADOOP_NORMAL_RUNS]
    rest = [run for run in logs if run not in learned]
    batches = {run: by_time([_container(name, lines) for name, lines in logs[run].items()]) for run in logs}
    judged = judge_groups(
        EntryBatch.concat([batches[run] for run in learned]),
        EntryBatch.concat([batches[run] for run in rest]),
        group_of=lambda session: session.split("/")[0],
        abnormal=[run for run in rest if abnormal[run]],
        normal=[run for run in rest if not abnormal[run]],
    )
    show("hadoop: containers, each with the label of its run", judged.sessions)
    return {
        **figures("hadoop", judged.groups),
        "hadoop_container_fpr": judged.sessions.combined.fpr,
        "hadoop_container_recall": judged.sessions.combined.recall,
    }


def bgl(data: Path) -> dict[str, Any]:
    """Entries without any session; the source is the node, the second word of a body.

    Lines labelled abnormal are not learned from.
    """
    (log,) = sorted((data / "bgl").glob("*.log.gz"))
    entries = read_entries([str(log)], LineLabel(r"^(\S+) ", NORMAL_LABELS), [0])
    nodes = [body.split(maxsplit=2)[1] for body in entries.batch.bodies]
    entries = replace(entries, batch=replace(entries.batch, sources=nodes))
    early = np.arange(len(entries)) < BGL_SHARE * len(entries)
    train = entries.take(early & (entries.labels == NORMAL)).batch
    report = evaluate_entries(trained(train), train=train, test=entries.take(~early), sessions={}, **_limits())
    return figures("bgl", report.entries)


def nezha_trainticket(data: Path) -> dict[str, Any]:
    """All services are one application. A session is a trace; then again, a trace in one service.

    A window is flagged when one of its sessions is. Fault windows: from an injection to the end of its three minutes.
    Normal windows: the minute before an injection, and the normal minute of the next day.
    """
    found: dict[str, Any] = {}
    for name, by_service in (("nezha_trainticket", False), ("nezha_trainticket_service", True)):
        judged = _nezha(data / "nezha_trainticket", by_service=by_service)
        show(f"{name}: sessions, each with the label of its window", judged.sessions)
        found |= figures(name, judged.groups)
        found[f"{name}_session_fpr"] = judged.sessions.combined.fpr
        found[f"{name}_session_recall"] = judged.sessions.combined.recall
    return found


def _nezha(folder: Path, *, by_service: bool) -> Groups:
    faults: dict[str, list[Path]] = {}
    with (folder / "windows.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            path = folder / f"{row['day']}_{row['minute_file']}_log.csv.gz"
            faults.setdefault(row["inject_time_utc"], []).append(path)
    day_1, day_2 = sorted((folder / "normal").glob("*_log.csv"))
    learned, windows = [_records(day_1, "learned", by_service=by_service)], []
    abnormal, normal = [], ["normal day 2"]
    for number, (injected, files) in enumerate(sorted(faults.items())):
        injected_ns = int(datetime.fromisoformat(injected).replace(tzinfo=UTC).timestamp()) * NS_PER_S
        records = by_time([_records(path, "", by_service=by_service) for path in sorted(files)])
        times: dict[str, list[int]] = {}
        for trace, time_ns in zip(_traces(records), records.times_ns.tolist(), strict=True):
            times.setdefault(trace, []).append(time_ns)
        before = {trace for trace, found in times.items() if found[-1] < injected_ns}
        if number < NEZHA_FAULTS:
            learned.append(_of_traces(records, before, "learned"))
            continue
        # A trace that was running at the injection belongs to neither side.
        after = {trace for trace, found in times.items() if found[0] >= injected_ns}
        abnormal.append(f"fault {number:02}")
        normal.append(f"before {number:02}")
        windows += [_of_traces(records, before, normal[-1]), _of_traces(records, after, abnormal[-1])]
    windows.append(_records(day_2, normal[0], by_service=by_service))
    return judge_groups(
        by_time(learned),
        by_time([window for window in windows if len(window)]),
        group_of=lambda session: session.split("/")[0],
        abnormal=abnormal,
        normal=normal,
    )


def adfa(data: Path) -> dict[str, Any]:
    """System calls of processes: 53 normal sessions in all, of which the last third is judged."""
    folder = data / "ait_sequences" / "adfa_verazuo"

    def sessions(name: str) -> list[list[int]]:
        lines = (folder / name).read_text().splitlines()
        return [[int(word) for word in line.split(",", 1)[1].split()] for line in lines]

    normal, abnormal = sessions("adfa_train"), sessions("adfa_test_abnormal")
    cut = round(ADFA_SHARE * len(normal))
    fit = fit_behaviour([TrainingSession(keys=keys) for keys in normal[:cut]], KeyModelConfig(), ThresholdConfig())
    report = evaluate_sequences(
        SequenceScorer(fit.behaviour),
        normal=normal[cut:],
        abnormal=abnormal,
        rules=SimpleRules(normal[:cut], **_limits()),
        chunk=64,
    )
    return figures("adfa", report.comparison)


SETS: Mapping[str, Callable[[Path], dict[str, Any]]] = {
    "openstack_kalaki": openstack_kalaki,
    "hadoop": hadoop,
    "bgl": bgl,
    "nezha_trainticket": nezha_trainticket,
    "adfa": adfa,
}


def run(data: Path, names: Iterable[str] = tuple(SETS)) -> dict[str, Any]:
    """Figures of all sets, flat, with the seconds that each took."""
    set_threads(1)
    found: dict[str, Any] = {}
    for name in names:
        started = time.perf_counter()
        found |= SETS[name](data)
        found[f"{name}_s"] = round(time.perf_counter() - started, 1)
    return found


def judge_groups(
    train: EntryBatch,
    test: EntryBatch,
    *,
    group_of: Callable[[str], str],
    abnormal: Sequence[str],
    normal: Sequence[str],
) -> Groups:
    """Learn, judge, count by session and by group."""
    model = trained(train)
    detector = Detector(model, DetectorConfig(cold_start_s=0.0))  # no session began before what is judged here
    train_paths = session_paths(detector.parse(train.bodies).keys, session_names(train, model.sessions))
    rules = SimpleRules(list(train_paths.values()), **_limits())
    found = judge_entries(detector, test)
    paths = found.paths()
    names = [name for name in found.judgements if group_of(name) in {*abnormal, *normal}]
    judgements = [found.judgements[name] for name in names]
    of_rules = rules.judged([paths[name] for name in names])
    groups = [*abnormal, *normal]
    places = {group: place for place, group in enumerate(groups)}
    owners = np.array([places[group_of(name)] for name in names])
    is_bad = np.arange(len(groups)) < len(abnormal)

    def grouped(judged: Judged) -> Judged:
        scores, flagged = np.zeros(len(groups)), np.zeros(len(groups), np.bool_)
        np.maximum.at(scores, owners, judged.scores)
        np.logical_or.at(flagged, owners, judged.flagged)
        return Judged(scores=scores, flagged=flagged)

    kinds = {kind: judged for kind, judged in by_kind(judgements).items() if judged.flagged.any()}
    return Groups(
        sessions=Comparison.of(
            Labelled.of(is_bad[owners]), combined=combined(judgements), by_detector=kinds, baselines=of_rules
        ),
        groups=Comparison.of(
            Labelled.of(is_bad),
            combined=grouped(combined(judgements)),
            by_detector={name: grouped(judged) for name, judged in kinds.items()},
            baselines={name: grouped(judged) for name, judged in of_rules.items()},
        ),
    )


def trained(train: EntryBatch, sessions: SessionConfig | None = None) -> ApplicationModel:
    """The model with the default configuration."""
    trainer = Trainer(sessions=sessions)
    for start in range(0, len(train), BATCH_ENTRIES):
        trainer.add(train.slice(start, min(start + BATCH_ENTRIES, len(train))))
    model, report = trainer.fit(application="benchmark", version=1)
    console.print(
        f"learned from {report.entries:,} entries, {report.sessions:,} sessions, {report.templates:,} templates; "
        f"calibrated on {report.calibration_sessions:,} sessions"
    )
    return model


def figures(name: str, comparison: Comparison | None) -> dict[str, Any]:
    """The flat figures of a set; the table is printed."""
    if comparison is None:
        raise SystemExit(f"{name}: nothing that was judged has a label")
    show(name, comparison)
    found = comparison.combined
    return {
        f"{name}_fn": found.fn,
        f"{name}_fp": found.fp,
        f"{name}_fpr": found.fpr,
        f"{name}_f1": found.f1,
        f"{name}_best_rule_f1": max(rule.f1 for rule in comparison.baselines.values()),
        f"{name}_recall": found.recall,
        f"{name}_precision": found.precision,
        f"{name}_pr_auc": found.pr_auc,
    }


def show(title: str, comparison: Comparison) -> None:
    """Print all detectors and rules."""
    console.print(table(title, comparison))


def by_time(batches: Sequence[EntryBatch]) -> EntryBatch:
    """All entries in the order of their times; those of one time stay in their order."""
    whole = EntryBatch.concat(batches)
    order = np.argsort(whole.times_ns, kind="stable")
    rows = order.tolist()
    return EntryBatch(
        bodies=[whole.bodies[row] for row in rows],
        times_ns=whole.times_ns[order],
        sessions=[whole.sessions[row] for row in rows],
        sources=[whole.sources[row] for row in rows],
    )


def _container(name: str, lines: list[str]) -> EntryBatch:
    """Lines of a container's log; a line without a time stamp, as in a stack trace, has that of the one before."""
    read = LineReader(source=name).read(lines).batch
    known = np.maximum.accumulate(np.where(read.times_ns > 0, np.arange(len(read)), 0))
    return EntryBatch.of(
        read.bodies, times_ns=read.times_ns[known], sessions=[name] * len(read), sources=[name] * len(read)
    )


def _records(path: Path, window: str, *, by_service: bool) -> EntryBatch:
    """Records of a minute, the oldest first; the body is the line that the container wrote.

    A session is ``window/trace``, with ``/pod`` behind it if it is one of a single service.
    """
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as file:
        rows = [*csv.DictReader(file)][::-1]  # the files have the newest first
    return EntryBatch.of(
        [_body(row["Log"]) for row in rows],
        times_ns=[int(row["TimeUnixNano"]) for row in rows],
        sessions=[f"{window}/{row['TraceID']}" + f"/{row['PodName']}" * by_service for row in rows],
        sources=[row["PodName"] for row in rows],
    )


def _body(record: str) -> str:
    """The text in a container's JSON record, without the time of day at its head."""
    try:
        text = str(json.loads(record)["log"])
    except (json.JSONDecodeError, KeyError, TypeError):
        text = record
    return re.sub(r"^\d\d:\d\d:\d\d\.\d+ ", "", text.rstrip("\n")) or record


def _traces(batch: EntryBatch) -> list[str]:
    return [session.split("/")[1] for session in batch.sessions]


def _of_traces(batch: EntryBatch, chosen: set[str], window: str) -> EntryBatch:
    """The entries of some traces, their sessions named after another window."""
    mask = np.array([trace in chosen for trace in _traces(batch)], np.bool_)
    part = LabelledEntries(batch=batch, labels=np.full(len(batch), UNKNOWN, np.int8)).take(mask).batch
    return replace(part, sessions=[f"{window}/{session.split('/', 1)[1]}" for session in part.sessions])


def _limits() -> dict[str, Any]:
    """What the simple rules share with the configuration."""
    return {
        "min_sessions": KeyModelConfig().min_sessions,
        "false_positive_rate": ThresholdConfig().false_positive_rate,
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=", ".join(SETS))
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        raise SystemExit(f"{arguments.data}: no such folder; give DATA=folder")
    if unknown := set(arguments.sets) - set(SETS):
        raise SystemExit(f"no such set: {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    write_results("sets", run(arguments.data, arguments.sets))


if __name__ == "__main__":
    main()
