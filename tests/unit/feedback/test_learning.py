from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from math import inf
from typing import Any

import pytest
import torch

from deeplog_grpc.detection import ApplicationModel, EntryBatch, Judges, Kind
from deeplog_grpc.feedback import (
    CaseJudge,
    CountsCase,
    FeedbackConfig,
    Knowledge,
    Learner,
    Lesson,
    NewValueCase,
    StepCase,
    Update,
    ValueCase,
    learning,
)
from deeplog_grpc.models import BEGIN_KEY, KeyLearning, LogKeyModel
from deeplog_grpc.serving.evidence import lesson_of
from tests.anomalies import ALL, ODD, detector_of, kinds_of, named, noted_in
from tests.trained import LATER_S, entry, joined, order

VERSION = 4
STEPS = (Kind.UNSEEN_KEY, Kind.EXECUTION_PATH, Kind.UNSEEN_TRANSITION, Kind.INCOMPLETE_SESSION)
judges_of = partial(Judges, cache_bytes=1 << 20)


@pytest.fixture(scope="module")
def lessons(trained: ApplicationModel) -> dict[str, Lesson]:
    """The first anomaly of its kind in the session of that name."""
    found: dict[str, Lesson] = {}
    for noted in noted_in(detector_of(trained), ALL):
        if Kind(noted.message.kind).name == noted.message.session:
            found.setdefault(noted.message.session, lesson_of(noted.message))
    return found


@pytest.fixture(scope="module")
def before(trained: ApplicationModel) -> dict[str, list[str]]:
    return kinds_of(trained)


def learner_of(model: ApplicationModel, *learned: Lesson, **config: Any) -> Learner:
    return Learner(model, Knowledge(lessons=learned), FeedbackConfig(**config), judges_of)


def learned_by(learner: Learner, *lessons: Lesson, version: int = VERSION) -> ApplicationModel:
    """The version that is in force after lessons."""
    update = learner.learn(lessons, version=version)
    assert update.refusal == ""
    learner.accept(update, lessons)
    return learner.model


def said_of(model: ApplicationModel, batch: EntryBatch) -> list[str]:
    return [Kind(noted.message.kind).name for noted in noted_in(detector_of(model), batch)]


def content(model: ApplicationModel) -> list[Any]:
    """All of a version but its number."""
    weights = [tensor.numpy().tobytes() for tensor in model.key_model.weights().values()]
    vocabulary, profile = model.key_model.vocabulary, model.behaviour.profile
    return [weights, vocabulary, profile.to_json(), model.value_model.to_json(), _sorted(model)]


def _sorted(model: ApplicationModel) -> list[dict[str, Any]]:
    return sorted(model.value_sets.to_json(), key=lambda sets: int(sets["key"]))


def normal(model: ApplicationModel, *lessons: Lesson) -> list[bool]:
    return CaseJudge(judges_of(model)).normal([lesson.case for lesson in lessons])


def refused(update: Update) -> str:
    assert update.judges is None
    assert update.refusal
    return update.refusal


@pytest.mark.parametrize("name", list(ODD))
def test_what_was_a_false_alarm_is_normal_and_all_else_is_judged_as_before(
    trained: ApplicationModel, lessons: dict[str, Lesson], before: dict[str, list[str]], name: str
) -> None:
    learner, old = learner_of(trained), content(trained)
    update = learner.learn([lessons[name]], version=VERSION)
    assert (update.refusal, [judged.is_normal for judged in (*update.before, *update.after)]) == ("", [False, True])
    assert update.check is not None
    assert update.check.flagged_after <= update.check.flagged_before
    assert (learner.model is trained, content(trained) == old) == (True, True)
    learner.accept(update, [lessons[name]])
    assert (learner.model.version, learner.knowledge.lessons) == (VERSION, (lessons[name],))
    after = kinds_of(learner.model)
    assert after.pop(name, []).count(name) < before[name].count(name)
    assert after == {session: kinds for session, kinds in before.items() if session != name}


@pytest.mark.parametrize("name", ["EXECUTION_PATH", "NEW_VALUE", "UNSEEN_KEY"])
def test_a_session_is_normal_when_all_that_was_said_of_it_was_learned(trained: ApplicationModel, name: str) -> None:
    learner = learner_of(trained)
    for version in range(VERSION, VERSION + 4):
        noted = noted_in(detector_of(learner.model), ODD[name])
        if not noted:
            break
        learned_by(learner, *dict.fromkeys(lesson_of(one.message) for one in noted), version=version)
    assert said_of(learner.model, ODD[name]) == []


def test_a_session_of_odd_length_is_learned_with_its_counts(trained: ApplicationModel) -> None:
    config = replace(trained.behaviour.calibration.config, counts=inf, length=1.0)
    behaviour = replace(trained.behaviour, calibration=replace(trained.behaviour.calibration, config=config))
    model = replace(trained, behaviour=behaviour)
    usual = order(1)
    longer = [joined(usual.slice(0, 3), *[usual.slice(2, 3)] * more, usual.slice(3, 99)) for more in (20, 30)]
    long, longest = (named(batch, "long") for batch in longer)
    (noted,) = noted_in(detector_of(model), long)
    assert Kind(noted.message.kind) is Kind.SESSION_LENGTH
    learned = learned_by(learner_of(model), lesson_of(noted.message))
    assert (said_of(learned, long), said_of(learned, longest)) == ([], ["SESSION_LENGTH"])


def test_all_kinds_are_learned_together(trained: ApplicationModel, lessons: dict[str, Lesson]) -> None:
    update = learner_of(trained).learn(list(lessons.values()), version=VERSION)
    assert update.judges is not None
    assert {type(lesson.case) for lesson in lessons.values()} == {StepCase, CountsCase, ValueCase, NewValueCase}
    assert all(normal(update.judges.model, *lessons.values()))
    assert len(update.before) == len(update.after) == len(ODD)


def test_one_after_the_other_none_is_forgotten(trained: ApplicationModel, lessons: dict[str, Lesson]) -> None:
    learner = learner_of(trained)
    for version, lesson in enumerate(lessons.values(), start=VERSION):
        update = learner.learn([lesson], version=version)
        assert (update.refusal, update.check is not None) == ("", True)
        assert update.check is not None
        assert update.check.lessons_kept == update.check.lessons == version - VERSION
        learner.accept(update, [lesson])
    assert all(normal(learner.model, *lessons.values()))
    assert learner.model.version == VERSION + len(lessons) - 1
    assert learner.knowledge.lessons == tuple(lessons.values())


def test_the_same_history_gives_the_same_version(trained: ApplicationModel, lessons: dict[str, Lesson]) -> None:
    first, second = (learned_by(learner_of(trained), *lessons.values()) for _ in range(2))
    assert content(first) == content(second)


STRANGE = "the moon is in the seventh house"


def with_strange(place: int, times: int = 1) -> EntryBatch:
    batch = order(1)
    strange = entry(STRANGE, LATER_S + place)
    return named(joined(batch.slice(0, place), *[strange] * times, batch.slice(place, len(batch))), "s")


@cache
def places() -> dict[str, EntryBatch]:
    return {"own": with_strange(6), "elsewhere": with_strange(2), "twice": with_strange(6, 2)}


def strange_lessons(model: ApplicationModel, *, anywhere: bool) -> list[Lesson]:
    (noted,) = noted_in(detector_of(model), places()["own"])
    step = lesson_of(noted.message, anywhere=anywhere)
    assert isinstance(step.case, StepCase)
    return [step]


def test_a_new_key_in_its_place_needs_the_counts_too_and_is_normal_nowhere_else(trained: ApplicationModel) -> None:
    learner = learner_of(trained)
    learned_by(learner, *strange_lessons(trained, anywhere=False))
    (noted,) = noted_in(detector_of(learner.model), places()["own"])
    assert Kind(noted.message.kind) is Kind.SESSION_COUNTS
    learned_by(learner, lesson_of(noted.message), version=VERSION + 1)
    found = {name: said_of(learner.model, batch) for name, batch in places().items()}
    assert found["own"] == []
    assert "UNSEEN_TRANSITION" in found["elsewhere"]
    assert found["twice"] == ["SESSION_COUNTS"]


def test_a_new_key_that_is_normal_anywhere_is_so_at_once(trained: ApplicationModel) -> None:
    learned = learned_by(learner_of(trained), *strange_lessons(trained, anywhere=True))
    assert {name: said_of(learned, batch) for name, batch in places().items()} == {name: [] for name in places()}


def test_what_was_learned_in_its_place_can_be_learned_anywhere_afterwards(trained: ApplicationModel) -> None:
    learner = learner_of(trained)
    learned_by(learner, *strange_lessons(trained, anywhere=False))
    anywhere = strange_lessons(trained, anywhere=True)
    learned_by(learner, *anywhere, version=VERSION + 1)
    assert {name: said_of(learner.model, batch) for name, batch in places().items()} == {name: [] for name in places()}
    assert learner.learn(anywhere, version=VERSION + 2).judges is None


def test_nothing_to_learn_is_no_refusal_and_no_version(trained: ApplicationModel, lessons: dict[str, Lesson]) -> None:
    learner = learner_of(trained)
    learned_by(learner, lessons["UNSEEN_TRANSITION"])
    update = learner.learn([lessons["UNSEEN_TRANSITION"]], version=VERSION + 1)
    assert (update.judges, update.refusal, update.check, update.steps) == (None, "", None, 0)
    assert update.after == update.before
    with pytest.raises(ValueError, match="no new version"):
        learner.accept(update, [lessons["UNSEEN_TRANSITION"]])


@pytest.mark.parametrize("name", list(ODD))
def test_what_was_confirmed_is_never_learned(trained: ApplicationModel, lessons: dict[str, Lesson], name: str) -> None:
    learner = learner_of(trained)
    learner.confirm([lessons[name]])
    others = [lessons["ELAPSED_TIME"], replace(lessons[name], anywhere=True)]
    assert "confirmed as an anomaly" in refused(learner.learn(others, version=VERSION))
    assert learner.model is trained
    assert learner.knowledge.lessons == ()


def test_what_would_make_a_confirmed_anomaly_normal_is_refused(
    trained: ApplicationModel, lessons: dict[str, Lesson], before: dict[str, list[str]]
) -> None:
    slow = lessons["PARAMETER_VALUE"].case
    assert isinstance(slow, ValueCase)
    numbers = tuple((slot, unit, 2 * x if slot == slow.slot else x) for slot, unit, x in slow.numbers)
    slower = Lesson(kind=Kind.PARAMETER_VALUE, case=replace(slow, numbers=numbers))
    learner = learner_of(trained)
    learner.confirm([lessons["PARAMETER_VALUE"], lessons["UNSEEN_KEY"]])
    update = learner.learn([slower], version=VERSION)
    assert refused(update) == "1 of 2 confirmed anomalies would become normal"
    assert learner.model is trained
    assert kinds_of(learner.model) == before
    assert learner.learn([lessons["NEW_VALUE"]], version=VERSION).refusal == ""


def test_a_confirmed_place_of_a_new_key_stays_one_when_it_is_to_be_normal_anywhere(trained: ApplicationModel) -> None:
    (elsewhere,) = noted_in(detector_of(trained), places()["elsewhere"])
    learner = learner_of(trained)
    learner.confirm([lesson_of(elsewhere.message)])
    assert "confirmed" in refused(learner.learn(strange_lessons(trained, anywhere=True), version=VERSION))
    learned_by(learner, *strange_lessons(trained, anywhere=False))
    assert normal(learner.model, lesson_of(elsewhere.message)) == [False]


def spoil(monkeypatch: pytest.MonkeyPatch, *, steps: int = 9) -> None:
    """Have the log key model learned so that it expects one log key and nothing else."""

    def spoilt(model: LogKeyModel, *arguments: object, **options: object) -> KeyLearning:
        weights = {name: torch.zeros_like(tensor) for name, tensor in model.weights().items()}
        weights["output.bias"][model.vocabulary.assigned - 1] = 20.0
        return KeyLearning(
            model=LogKeyModel.from_weights(model.config, model.vocabulary, weights), steps=steps, lacking=0
        )

    monkeypatch.setattr(learning, "learn_keys", spoilt)


@pytest.mark.parametrize("margin", [0.0, 0.0005, 0.9])
def test_a_version_that_flags_normal_sessions_is_refused_with_their_share(
    trained: ApplicationModel, lessons: dict[str, Lesson], monkeypatch: pytest.MonkeyPatch, margin: float
) -> None:
    spoil(monkeypatch)
    learner, old = learner_of(trained, margin=margin), content(trained)
    update = learner.learn([lessons["UNSEEN_TRANSITION"]], version=VERSION)
    assert "100.00% of 150 known-normal sessions instead of 0.00%" in refused(update)
    assert f"{max(margin, 1 / 150):.2%} are allowed (feedback.margin)" in update.refusal
    assert update.check is not None
    assert (update.check.flagged_after, update.check.sessions, update.steps) == (1.0, 150, 9)
    assert (learner.model is trained, content(trained) == old, learner.knowledge) == (True, True, Knowledge())


def test_a_margin_of_nothing_lets_a_good_version_pass(trained: ApplicationModel, lessons: dict[str, Lesson]) -> None:
    learned_by(learner_of(trained, margin=0.0), *lessons.values())


def test_a_version_that_forgets_or_does_not_learn_is_refused(
    trained: ApplicationModel, lessons: dict[str, Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = learner_of(trained, margin=1.0)
    learned_by(learner, lessons["INCOMPLETE_SESSION"])
    spoil(monkeypatch)
    forgets = learner.learn([lessons["EXECUTION_PATH"]], version=VERSION + 1)
    assert refused(forgets) == "1 of 1 earlier lessons would be forgotten"
    no_better = learner_of(trained, margin=1.0).learn([lessons["INCOMPLETE_SESSION"]], version=VERSION)
    assert "would still flag a case" in refused(no_better)


def test_lessons_that_the_steps_do_not_reach_are_refused(
    trained: ApplicationModel, lessons: dict[str, Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacks(model: LogKeyModel, *arguments: object, **options: object) -> KeyLearning:
        return KeyLearning(model=model, steps=150, lacking=3)

    monkeypatch.setattr(learning, "learn_keys", lacks)
    update = learner_of(trained).learn([lessons["UNSEEN_TRANSITION"]], version=VERSION)
    assert "3 cases are not learned after 150 gradient steps" in refused(update)


def test_a_loss_that_is_no_number_refuses_the_update(
    trained: ApplicationModel, lessons: dict[str, Lesson], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object, **options: object) -> KeyLearning:
        raise ValueError("the loss of the update is not a finite number")

    monkeypatch.setattr(learning, "learn_keys", fails)
    update = learner_of(trained).learn([lessons["UNSEEN_TRANSITION"]], version=VERSION)
    assert (refused(update), update.check) == ("the loss of the update is not a finite number", None)


def test_put_back_all_is_as_it_was_but_for_what_was_confirmed(
    trained: ApplicationModel, lessons: dict[str, Lesson]
) -> None:
    learner = learner_of(trained)
    first = learned_by(learner, lessons["UNSEEN_KEY"])
    learned_by(learner, lessons["UNSEEN_TRANSITION"], version=VERSION + 1)
    learner.confirm([lessons["NEW_VALUE"]])
    learner.put_back(trained, Knowledge())
    assert learner.model is trained
    assert learner.knowledge == Knowledge(confirmed=(lessons["NEW_VALUE"],))
    assert content(learned_by(learner, lessons["UNSEEN_KEY"])) == content(first)


def test_of_too_many_lessons_the_newest_stay(trained: ApplicationModel, lessons: dict[str, Lesson]) -> None:
    learner = learner_of(trained, max_lessons=2)
    order_of = [lessons[name] for name in ("NEW_VALUE", "ELAPSED_TIME", "SESSION_COUNTS", "PARAMETER_VALUE")]
    for version, lesson in enumerate(order_of, start=VERSION):
        learned_by(learner, lesson, version=version)
    assert learner.knowledge.lessons == tuple(order_of[-2:])


def test_an_end_that_was_learned_is_normal_after_its_window_alone(
    trained: ApplicationModel, lessons: dict[str, Lesson]
) -> None:
    case = lessons["INCOMPLETE_SESSION"].case
    assert isinstance(case, StepCase)
    learned = learned_by(learner_of(trained), lessons["INCOMPLETE_SESSION"])
    elsewhere: Sequence[StepCase] = [replace(case, window=case.window[:-1]), StepCase(window=(BEGIN_KEY,), key=-1)]
    assert normal(learned, lessons["INCOMPLETE_SESSION"]) == [True]
    assert CaseJudge(judges_of(learned)).normal(elsewhere) == [False, False]
