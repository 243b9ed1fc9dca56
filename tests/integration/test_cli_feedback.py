"""Commands of an operator against a server with prepared answers."""

import json
import re
import signal
import subprocess
import sys
import time
from typing import Any

import pytest
import typer

from deeplog_grpc.cli.remote import actor_of
from deeplog_grpc.errors import DrainingError, InputError
from deeplog_grpc.v1 import anomaly_pb2, feedback_pb2, model_pb2, verdict_pb2
from tests.integration.fake_servicer import (
    BOUND_S,
    TIME_NS,
    FakeService,
    Quiet,
    anomaly,
    pages,
    watched,
)

COMMANDS = [
    *("feedback", "adapt", "drift", "models list", "models rollback", "anomalies list", "anomalies watch"),
    *("anomalies show", "anomalies groups", "anomalies mute", "anomalies unmute"),
]
HOUR_NS = 3_600 * 10**9
CHECK = feedback_pb2.GateCheck(
    sessions=200, flagged_before=0.01, flagged_after=0.015, margin=0.01, confirmed=3, confirmed_flagged=3, lessons=5
)
LEARNED = feedback_pb2.FeedbackResponse(
    feedback_id="f-1",
    outcome=feedback_pb2.FEEDBACK_OUTCOME_LEARNED,
    model_version=4,
    cases=[
        feedback_pb2.LearnedCase(
            kind=verdict_pb2.KIND_UNSEEN_KEY, key=12, rank_after=2, probability_after=0.341, is_normal=True
        ),
        feedback_pb2.LearnedCase(
            kind=verdict_pb2.KIND_PARAMETER_VALUE, key=4, probability_before=1, probability_after=1, is_normal=False
        ),
    ],
    case_count=2,
    steps=12,
    check=CHECK,
    explained=37,
    message="it is normal from now on",
    update_s=0.84,
)
REFUSED = feedback_pb2.FeedbackResponse(
    feedback_id="f-2",
    outcome=feedback_pb2.FEEDBACK_OUTCOME_REFUSED,
    model_version=3,
    check=CHECK,
    message="the new model flags too many known-normal sessions",
)
GROUP = anomaly_pb2.AnomalyGroup(
    group_id="g-7",
    application="orders",
    kind=verdict_pb2.KIND_UNSEEN_KEY,
    key=12,
    template="disk <*> is full",
    reason="this log key was not seen in training",
    count=1_234,
    open_count=37,
    last_seen_unix_nano=TIME_NS,
    state=anomaly_pb2.ANOMALY_STATE_OPEN,
    muted_until_unix_nano=TIME_NS + HOUR_NS,
    last_verdict_id="3-128",
)


@pytest.fixture
def ask(call: Any, fake: FakeService) -> Any:
    """Run a command against the server."""
    return lambda *arguments: call(*arguments, "--server", fake.address)


def flat(text: str) -> str:
    """Without line breaks and frames."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(call: Any, name: str) -> None:
    code, out, _ = call(*name.split(), "--help")
    assert code == 0
    assert f"Example: deeplog-grpc {name}" in flat(out)


def test_feedback_tells_what_was_learned(ask: Any, fake: FakeService) -> None:
    fake.answer("Feedback", LEARNED)
    arguments = ("feedback", "3-128", "--false-positive", "--actor", "ann", "--note", "release", "--application", "a")
    code, out, err = ask(*arguments)
    assert (code, err) == (0, "")
    for text in (
        "learned: it is normal from now on",
        "unseen_key 12 - -> 2 0.00% -> 34.10% yes",
        "parameter_value 4 - - no",
        "version 4 is in force: 12 steps, 0.8 s",
        "of 200 known-normal sessions 1.00% -> 1.50% flagged (1.00% allowed)",
        "3 of 3 confirmed anomalies still found, 0 of 5 earlier lessons kept",
        "37 other open anomalies explained",
        "feedback f-1",
    ):
        assert text in flat(out)
    (request,) = fake.asked("Feedback")
    assert (request.verdict_id, request.actor, request.note, request.application) == ("3-128", "ann", "release", "a")
    assert request.label == feedback_pb2.FEEDBACK_LABEL_FALSE_POSITIVE


def test_feedback_for_machines(ask: Any, fake: FakeService) -> None:
    fake.answer("Feedback", LEARNED)
    code, out, err = ask("feedback", "3-128", "--fp", "--json", "--id", "mine")
    assert (code, err, out.count("\n")) == (0, "", 1)
    row = json.loads(out)
    assert list(row) == [field.name for field in feedback_pb2.FeedbackResponse.DESCRIPTOR.fields]
    assert (row["outcome"], row["cases"][0]["probability_after"], row["check"]["margin"]) == ("learned", 0.341, 0.01)
    assert fake.asked("Feedback")[0].feedback_id == "mine"


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_refused_update_is_exit_code_3_and_says_why(ask: Any, fake: FakeService, arguments: list[str]) -> None:
    fake.answer("Feedback", REFUSED)
    fake.answer("Adapt", feedback_pb2.AdaptResponse(result=REFUSED))
    for command in (["feedback", "--group", "g-7", "--fp"], ["adapt", "--since", "2h"]):
        code, out, err = ask(*command, *arguments)
        assert (code, err) == (3, "")
        assert "the new model flags too many known-normal sessions" in flat(out)
        assert "in force" not in out or "version 3 stays in force" in out


@pytest.mark.parametrize(
    ("arguments", "target", "value"),
    [
        (["--verdict", "3-1"], "verdict_id", "3-1"),
        (["--session", "job-1"], "session", "job-1"),
        (["--group", "g-7"], "group_id", "g-7"),
        (["--window", "-1,3", "--key", "-1"], "step", feedback_pb2.LabelledStep(window=[-1, 3], key=-1)),
        (["--window", "", "--key", "12"], "step", feedback_pb2.LabelledStep(key=12)),
        (
            ["--key", "4", "--values", "1=12.5ms,elapsed=3", "--window", "2,3,9"],
            "vector",
            verdict_pb2.ValueVector(
                key=4,
                numbers=[
                    verdict_pb2.ValueNumber(slot=1, unit="ms", number=12.5),
                    verdict_pb2.ValueNumber(slot=-1, unit="s", number=3),
                ],
                previous=[3, 9],
            ),
        ),
    ],
)
def test_what_feedback_can_be_about(
    ask: Any, fake: FakeService, arguments: list[str], target: str, value: object
) -> None:
    assert ask("feedback", *arguments, "--confirmed")[0] == 0
    (request,) = fake.asked("Feedback")
    assert (request.WhichOneof("target"), getattr(request, target)) == (target, value)
    assert request.label == feedback_pb2.FEEDBACK_LABEL_CONFIRMED
    assert request.actor == actor_of(None)


def test_an_order_without_an_answer_says_how_to_repeat_it(ask: Any, fake: FakeService) -> None:
    fake.answer("Feedback", DrainingError("the server is about to stop"))
    code, _, err = ask("feedback", "3-1", "--fp")
    assert (code, err.count("\n")) == (2, 1)
    names = {request.feedback_id for request in fake.asked("Feedback")}
    assert len(names) == 1
    assert f"the server is about to stop; to repeat the order, and have it done once, add --id {names.pop()}" in err
    fake.answer("Feedback", InputError("there is no anomaly 3-1", field="verdict_id"))
    assert ask("feedback", "3-1", "--fp")[2] == "deeplog-grpc: verdict_id: there is no anomaly 3-1\n"


def test_a_user_without_a_name_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown() -> str:
        raise KeyError("uid 4711")

    monkeypatch.setattr("getpass.getuser", unknown)
    assert (actor_of(None), actor_of("ann"), actor_of("")) == ("", "ann", "")


def test_anomalies_are_listed_with_their_filter(ask: Any, fake: FakeService) -> None:
    rows = [anomaly(f"3-{number}", is_muted=number == 1) for number in range(5)]
    fake.answer("ListAnomalies", pages(anomaly_pb2.ListAnomaliesResponse, "anomalies", rows, 2))
    code, out, err = ask(
        *("anomalies", "list", "--application", "orders", "--kind", "unseen_key", "--kind", "new-value"),
        *("--state", "open", "--session", "job-1", "--group", "g-7", "--since", "2024-05-01T10:00:00+02:00"),
        *("--until", "2h", "--min-score", 0.5, "--no-muted", "--limit", 3),
    )
    assert (code, err) == (0, "there are more: --limit 30\n")
    lines = out.splitlines()
    assert lines[0].split() == ["verdict", "time", "(UTC)", "kind", "score", "state"]
    assert lines[1].split() == ["3-0", "2024-05-01T10:00:00", "unseen_key", "1.00", "open"]
    assert [line.split()[-1] for line in lines[1::4]] == ["open", "muted", "open"]
    assert "orders job-1 disk <*> is full this log key was not seen in training 3-1" in flat(out)
    wanted = fake.asked("ListAnomalies")[0].filter
    until_ns, wanted.to_unix_nano = wanted.to_unix_nano, 0
    assert abs(until_ns - time.time_ns() + 2 * HOUR_NS) < BOUND_S * 1e9
    assert wanted == anomaly_pb2.AnomalyFilter(
        application="orders",
        kinds=[verdict_pb2.KIND_UNSEEN_KEY, verdict_pb2.KIND_NEW_VALUE],
        states=[anomaly_pb2.ANOMALY_STATE_OPEN],
        session="job-1",
        group_id="g-7",
        from_unix_nano=TIME_NS - 2 * HOUR_NS,
        min_score=0.5,
        exclude_muted=True,
    )


def test_anomalies_for_machines_have_the_names_of_scored_rows(ask: Any, fake: FakeService) -> None:
    fake.answer("ListAnomalies", anomaly_pb2.ListAnomaliesResponse(anomalies=[anomaly("3-1"), anomaly("3-2")]))
    code, out, err = ask("anomalies", "list", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert (code, err, [row["verdict_id"] for row in rows]) == (0, "", ["3-1", "3-2"])
    assert {"time", "application", "session", "kind", "key", "template", "score", "reason", "abnormal_value"} < set(
        rows[0]
    )
    assert (rows[0]["kind"], rows[0]["state"], rows[0]["abnormal_value"]) == ("unseen_key", "open", None)
    assert (rows[0]["time"], rows[0]["stored"]) == ("2024-05-01T10:00:00.000Z", "2024-05-01T10:00:00.001Z")


def test_nothing_is_said_to_be_nothing(ask: Any) -> None:
    assert ask("anomalies", "list")[2] == "no anomaly\n"
    assert ask("anomalies", "groups")[2] == "no group\n"
    assert ask("anomalies", "list", "--json") == (0, "", "")


def test_one_anomaly_is_shown_with_its_evidence(ask: Any, fake: FakeService) -> None:
    found = anomaly(
        context=[anomaly_pb2.ContextEntry(time_unix_nano=TIME_NS - 10**9, body="disk sda [red]mounted")],
        feedback_id="f-1",
        state=anomaly_pb2.ANOMALY_STATE_FALSE_POSITIVE,
    )
    value = verdict_pb2.AbnormalValue(slot=1, unit="ms", observed=5_041, predicted=16, low=-4.5, high=35.5)
    found.verdict.abnormal_value.CopyFrom(value)
    numbers = [verdict_pb2.ValueNumber(slot=-1, unit="s", number=3.25)]
    found.verdict.vector.CopyFrom(verdict_pb2.ValueVector(key=12, numbers=numbers))
    found.verdict.session_counts.update({4: 3, -2: 1})
    diagnosis = found.verdict.diagnosis
    diagnosis.deviation, diagnosis.text, diagnosis.task = verdict_pb2.DEVIATION_SLOW, "31 s passed", 2
    diagnosis.expected.add(state=3, key=5, template="disk <*> checked", probability=0.98, p50_s=0.25, p99_s=0.5)
    diagnosis.slow_steps.add(state=2, key=4, template="disk <*> found", elapsed_s=31.0, p50_s=0.25, p99_s=0.5)
    fake.answer(
        "ListAnomalies",
        lambda request: anomaly_pb2.ListAnomaliesResponse(
            anomalies=[found] if "3-128" in request.filter.verdict_ids else []
        ),
    )
    code, out, _ = ask("anomalies", "show", "3-128")
    assert code == 0
    for text in (
        "2024-05-01T09:59:59.000 disk sda [red]mounted",
        "-1 (before the session began) 4 disk <*> mounted 9",
        "4 75.00% disk <*> mounted",
        "slot 1: 5,041 ms, where 16 was expected and -4.5 to 35.5 is normal",
        "elapsed 3.25 s",
        "not in the model 1 4 3",
        "false positive by feedback f-1",
        "this log key was not seen in training",
        "diagnosis 31 s passed",
        "next in task 2",
        "5 98.00% 0.25 s, 99 % in 0.5 s disk <*> checked",
        "4 31 s 0.25 s, 99 % in 0.5 s disk <*> found",
    ):
        assert text in flat(out.replace("┃", ""))
    assert json.loads(ask("anomalies", "show", "3-128", "--json")[1])["context"][0]["body"] == "disk sda [red]mounted"
    assert ask("anomalies", "show", "9-9")[2] == "deeplog-grpc: VERDICT: there is no stored anomaly '9-9'\n"


def test_a_text_that_is_new_is_shown_beside_the_known_ones(ask: Any, fake: FakeService) -> None:
    found = anomaly()
    value = verdict_pb2.AbnormalValue(slot=0, text="root", known=["ann", "bob"], known_count=2)
    found.verdict.abnormal_value.CopyFrom(value)
    fake.answer("ListAnomalies", anomaly_pb2.ListAnomaliesResponse(anomalies=[found]))
    assert "slot 0: 'root', new beside ann, bob (2 in training)" in flat(ask("anomalies", "show", "3-128")[1])


def test_groups_are_listed(ask: Any, fake: FakeService) -> None:
    fake.answer("ListAnomalyGroups", anomaly_pb2.ListAnomalyGroupsResponse(groups=[GROUP]))
    code, out, err = ask("anomalies", "groups", "--state", "open", "--no-muted", "--application", "orders")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].split() == ["g-7", "2024-05-01T10:00:00", "unseen_key", "37", "1,234", "open"]
    assert "orders last: 3-128 muted until 2024-05-01T11:00:00 disk <*> is full this log key" in flat(out)
    (request,) = fake.asked("ListAnomalyGroups")
    assert (request.application, request.exclude_muted, list(request.states)) == ("orders", True, [1])
    assert json.loads(ask("anomalies", "groups", "--json")[1])["muted_until"] == "2024-05-01T11:00:00.000Z"


def test_a_group_is_muted_for_a_span_or_until_a_time_and_unmuted(ask: Any, fake: FakeService) -> None:
    fake.answer("MuteAnomalyGroup", lambda request: anomaly_pb2.MuteAnomalyGroupResponse(group=_muted(request)))
    assert ask("anomalies", "mute", "g-7", "--for", "2h")[0] == 0
    code, out, _ = ask("anomalies", "mute", "g-7", "--until", "2100-01-01")
    assert (code, out) == (0, "group g-7 is muted until 2100-01-01T00:00:00 UTC\n")
    assert ask("anomalies", "unmute", "g-7")[1] == "group g-7 is no longer muted\n"
    assert json.loads(ask("anomalies", "unmute", "g-7", "--json")[1])["group_id"] == "g-7"
    times = [request.muted_until_unix_nano for request in fake.asked("MuteAnomalyGroup")]
    assert abs(times[0] - time.time_ns() - 2 * HOUR_NS) < BOUND_S * 1e9
    assert times[2:] == [0, 0]


def _muted(request: anomaly_pb2.MuteAnomalyGroupRequest) -> anomaly_pb2.AnomalyGroup:
    return anomaly_pb2.AnomalyGroup(group_id=request.group_id, muted_until_unix_nano=request.muted_until_unix_nano)


def test_a_watch_prints_until_it_is_interrupted_and_says_where_to_go_on(fake: FakeService) -> None:
    fake.answer(
        "WatchAnomalies", [*watched("3-1"), DrainingError("the server stops")], [*watched("3-2", "3-3"), Quiet()]
    )
    program = "from deeplog_grpc.cli import main; main()"
    arguments = ["anomalies", "watch", "--after", "3-0", "--kind", "unseen_key", "--server", fake.address]
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background of a shell, Ctrl-C is ignored, and so it would be here.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(10)]  # to the first one of 3-3, so that 3-2 is done
        process.send_signal(signal.SIGINT)
        try:
            _, err = process.communicate(timeout=BOUND_S)
        finally:
            process.kill()  # else a failure here would be one of the test after it too
    assert [lines[1].split()[0], lines[5].split()[0]] == ["3-1", "3-2"]
    assert process.returncode == 130
    assert "connection lost (the server stops): trying again\n" in err
    assert re.search("to go on from here: --after 3-[23]\n", err)
    assert "Traceback" not in err
    asked = fake.asked("WatchAnomalies")
    assert [request.after_verdict_id for request in asked] == ["3-0", "3-1"]
    assert list(asked[0].filter.kinds) == [verdict_pb2.KIND_UNSEEN_KEY]


def test_a_watch_for_machines(ask: Any, fake: FakeService) -> None:
    fake.answer("WatchAnomalies", [*watched("3-1", "3-2"), InputError("this is the end", field="filter")])
    code, out, err = ask("anomalies", "watch", "--json")
    assert [json.loads(line)["verdict_id"] for line in out.splitlines()] == ["3-1", "3-2"]
    assert (code, err) == (2, "deeplog-grpc: filter: this is the end\n")


VERSIONS = [
    model_pb2.ModelVersion(
        application="orders",
        version=3,
        parent=2,
        cause=model_pb2.VERSION_CAUSE_FEEDBACK,
        created_unix_nano=TIME_NS,
        actor="ann",
        note="release",
        steps=12,
        check=CHECK,
        is_current=True,
        is_kept=True,
    ),
    model_pb2.ModelVersion(version=2, parent=1, cause=model_pb2.VERSION_CAUSE_ADAPT, is_kept=True),
    model_pb2.ModelVersion(version=1, cause=model_pb2.VERSION_CAUSE_TRAINING),
]


def test_versions_are_listed_and_rolled_back(ask: Any, fake: FakeService) -> None:
    fake.answer("ListModelVersions", model_pb2.ListModelVersionsResponse(versions=VERSIONS))
    fake.answer("RollbackModel", model_pb2.RollbackModelResponse(version=model_pb2.ModelVersion(version=4, parent=2)))
    code, out, _ = ask("models", "list", "--application", "orders")
    assert code == 0
    assert "3 feedback 2024-05-01T10:00:00 12 1.00% -> 1.50% in force of 2 ann: release" in flat(out)
    assert "1 training not kept" in flat(out)
    rows = [json.loads(line) for line in ask("models", "list", "--json")[1].splitlines()]
    assert [(row["version"], row["cause"], row["is_kept"]) for row in rows] == [
        (3, "feedback", True),
        (2, "adapt", True),
        (1, "training", False),
    ]
    assert rows[2]["check"] is None
    code, out, _ = ask("models", "rollback", 2, "--note", "too much", "--actor", "bob")
    assert (code, out) == (0, "version 4 is in force: the content of version 2\n")
    assert json.loads(ask("models", "rollback", 2, "--json")[1])["version"] == 4
    request = fake.asked("RollbackModel")[0]
    assert (request.version, request.note, request.actor, len(request.feedback_id)) == (2, "too much", "bob", 36)


def test_an_adaptation_off_a_terminal_is_not_asked_for(ask: Any, fake: FakeService) -> None:
    fake.answer("Adapt", feedback_pb2.AdaptResponse(result=LEARNED))
    code, out, err = ask("adapt", "--since", "2024-05-01T10:00:00", "--until", "2024-05-01T11:00:00", "--note", "4.2")
    assert (code, err) == (0, "")
    assert "version 4 is in force" in out
    (name, request), *_ = fake.requests
    assert (name, request.note) == ("Adapt", "4.2")
    assert (request.from_unix_nano, request.to_unix_nano) == (TIME_NS, TIME_NS + HOUR_NS)


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("n\n", 1)])
def test_an_adaptation_on_a_terminal_is_asked_for(
    ask: Any, fake: FakeService, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    fake.answer("Adapt", feedback_pb2.AdaptResponse(result=LEARNED))
    rows = [anomaly(f"3-{number}", group_id=f"g-{number % 3}") for number in range(5)]
    fake.answer("ListAnomalies", pages(anomaly_pb2.ListAnomaliesResponse, "anomalies", rows, 2))
    questions: list[str] = []

    def confirm(text: str, **_: Any) -> None:
        questions.append(text)
        if answer == "n\n":
            raise typer.Abort

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr(typer, "confirm", confirm)
    assert ask("adapt", "--since", "2h", "--application", "orders")[0] == code
    assert questions == ["Learn 5 open anomalies in 3 groups as normal?"]
    wanted = fake.asked("ListAnomalies")[0].filter
    assert (wanted.application, list(wanted.states)) == ("orders", [anomaly_pb2.ANOMALY_STATE_OPEN])
    assert len(fake.asked("Adapt")) == (1 if code == 0 else 0)
    assert ask("adapt", "--since", "2h", "--yes")[0] == 0
    assert len(questions) == 1


def test_drift_tells_how_things_stand(ask: Any, fake: FakeService) -> None:
    report = model_pb2.DriftReport(
        application="orders",
        is_drifting=True,
        since_unix_nano=TIME_NS,
        alarm_share=0.034,
        usual_alarm_share=0.001,
        unseen_share=0.02,
        entries=12_345,
        window_s=600,
        parts=[
            model_pb2.DriftPart(key=12, template="disk <*> is full", count=400),
            model_pb2.DriftPart(key=-1, template="<end of session>", count=3),
        ],
        message="alarms rose to 3.40% of the entries",
    )
    fake.answer("GetDrift", model_pb2.GetDriftResponse(report=report))
    code, out, err = ask("drift", "--application", "orders")
    assert (code, err) == (0, "")
    for text in (
        "orders drifting since 2024-05-01T10:00:00 UTC",
        "alarms rose to 3.40% of the entries",
        "abnormal 3.40% 0.10% unseen log key 2.00% 0.00%",
        "12,345 entries in a window of 600 s",
        "12 400 disk <*> is full end 3 <end of session>",
    ):
        assert text in flat(out.translate(str.maketrans("", "", "└┘─┴")))
    row = json.loads(ask("drift", "--json")[1])
    assert (row["is_drifting"], row["alarm_share"], row["since"]) == (True, 0.034, "2024-05-01T10:00:00.000Z")
    fake.answer("GetDrift", model_pb2.GetDriftResponse())
    assert "no drift" in ask("drift")[1]


WRONG = {
    "no label": (["feedback", "3-1"], "--false-positive, --confirmed: give exactly one of them"),
    "two labels": (["feedback", "3-1", "--fp", "--confirmed"], "--false-positive, --confirmed: give exactly one"),
    "no target": (["feedback", "--fp"], "VERDICT, --session, --group, --key: give exactly one of them"),
    "two targets": (["feedback", "3-1", "--group", "g", "--fp"], "VERDICT, --session, --group, --key: give exactly"),
    "twice the verdict": (["feedback", "3-1", "--verdict", "3-1", "--fp"], "give exactly one of them"),
    "a key alone": (["feedback", "--key", "3", "--fp"], "--key: needs --window or --values, and they need it"),
    "a window alone": (["feedback", "--window", "3", "--fp"], "--key: needs --window or --values, and they need it"),
    "values alone": (["feedback", "--values", "0=1", "--fp"], "--key: needs --window or --values, and they need it"),
    "no log key": (["feedback", "--key", "x", "--window", "3", "--fp"], "--key: 'x' is not the number of a log key"),
    "no window": (["feedback", "--key", "3", "--window", "3,end", "--fp"], "--window: 'end' is not the number of"),
    "no value": (["feedback", "--key", "3", "--values", "a=1", "--fp"], "--values: 'a=1' is not SLOT=NUMBER or"),
    "no seconds": (["feedback", "--key", "3", "--values", "elapsed=1ms", "--fp"], "--values: elapsed time is in"),
    "no kind": (["anomalies", "list", "--kind", "odd"], "--kind: 'odd' is none of normal, unseen_key, "),
    "no state": (["anomalies", "groups", "--state", "shut"], "--state: 'shut' is none of open, false_positive, "),
    "no time": (["anomalies", "list", "--since", "soon"], "--since: 'soon' is not a time: write 2024-05-01T10:00:00"),
    "a time before 1970": (["adapt", "--since", "1960-01-01"], "--since: '1960-01-01' is not a time"),
    "no span": (["anomalies", "mute", "g-7", "--for", "long"], "--for: 'long' is not a span: write 90s, 15m, 2h"),
    "a mute without an end": (["anomalies", "mute", "g-7"], "--for, --until: give exactly one of them"),
    "a mute until yesterday": (["anomalies", "mute", "g-7", "--until", "1d"], "--until: is not after now"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_the_caller_can_mend_is_one_line_and_asks_nobody(ask: Any, fake: FakeService, name: str) -> None:
    arguments, message = WRONG[name]
    code, out, err = ask(*arguments)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert err.startswith("deeplog-grpc: ")
    assert message in err
    assert fake.requests == []


@pytest.mark.parametrize("name", ["anomalies list", "models list", "drift", "anomalies watch"])
def test_a_server_that_is_not_there_is_one_line(call: Any, name: str) -> None:
    code, _, err = call(*name.split(), "--server", "127.0.0.1:1", "--json")
    assert (code, err.count("\n")) == (2, 1)
    assert "cannot reach the server" in err
