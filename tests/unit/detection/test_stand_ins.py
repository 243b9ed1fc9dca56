"""A new log key that is judged as a known one (``key_model.semantic``)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deeplog_grpc.detection import ApplicationModel, Detector, EntryBatch, Kind
from deeplog_grpc.models import LogKeyModel, with_new_keys, with_new_units
from deeplog_grpc.parsing import Parser
from deeplog_grpc.storage import load_bundle, save_bundle
from deeplog_grpc.testing import Fault, SimulatedLog
from deeplog_grpc.training import Trainer
from tests.conftest import NewDetector
from tests.trained import End, Row, entries_of, fresh_detector, in_parts, joined, order

OLD, NEW = "label printed on printer", "The label was printed on label printer:"
OPPOSITE = "label not printed on printer"


@pytest.fixture(scope="module")
def semantic(trained: ApplicationModel) -> ApplicationModel:
    """The trained application with the mode on."""
    model = trained.key_model
    config = replace(model.config, semantic=True)
    judging = LogKeyModel.from_weights(config, model.vocabulary, model.weights())
    return replace(trained, behaviour=replace(trained.behaviour, key_model=judging))


def reworded(batch: EntryBatch, new: str = NEW) -> EntryBatch:
    return replace(batch, bodies=[body.replace(OLD, new) for body in batch.bodies])


def row_of(batch: EntryBatch, text: str) -> int:
    return next(row for row, body in enumerate(batch.bodies) if text in body)


def told(detector: Detector, batch: EntryBatch) -> tuple[list[Row], list[End]]:
    return in_parts(detector, batch, [])


def test_a_rephrased_message_is_normal_where_the_known_one_is_and_stays_visible(
    semantic: ApplicationModel, new_detector: NewDetector
) -> None:
    batch = order(1)
    row = row_of(batch, OLD)
    plain = fresh_detector(semantic).score(batch)
    detector = fresh_detector(semantic)
    scored = detector.score(reworded(batch))
    known, key = int(plain.keys[row]), int(scored.keys[row])
    assert key != known
    assert scored.anomalies() == []
    for column in ("kinds", "ranks", "probabilities", "scores"):
        assert (getattr(scored, column) == getattr(plain, column)).all()
    verdict = scored.verdict(row)
    assert (verdict.kind, verdict.key, verdict.stands_for) == (Kind.NORMAL, key, known)
    assert OLD in verdict.reason
    assert "new log key, taken for" in verdict.reason
    assert scored.stands_for == {row: known}
    assert scored.verdict(row + 1).stands_for == -1
    assert scored.verdict(row + 1).reason == ""
    assert detector.stand_ins[key].key == known
    assert {end.kind for end in detector.flush().session_ends} == {Kind.NORMAL}
    without = new_detector().score(reworded(batch))
    assert without.kinds[row] == Kind.UNSEEN_KEY
    assert (without.stands_for, without.verdict(row).stands_for) == ({}, -1)


def test_the_opposite_stays_an_unseen_key(semantic: ApplicationModel) -> None:
    batch = reworded(order(1), OPPOSITE)
    detector = fresh_detector(semantic)
    scored = detector.score(batch)
    assert scored.kinds[row_of(batch, OPPOSITE)] == Kind.UNSEEN_KEY
    assert detector.stand_ins == {}


def test_a_rephrased_message_at_the_wrong_place_is_judged_as_the_known_one_would_be(
    semantic: ApplicationModel,
) -> None:
    old, new = "handed over to carrier", "Handed over to the carrier"
    batch = order(fault=Fault.WRONG_ORDER)
    plain = fresh_detector(semantic).score(batch)
    scored = fresh_detector(semantic).score(replace(batch, bodies=[body.replace(old, new) for body in batch.bodies]))
    row = plain.anomalies()[0]
    before, after = plain.verdict(row), scored.verdict(row)
    assert after.kind is before.kind is Kind.UNSEEN_TRANSITION
    assert after.key != before.key
    assert after.reason.startswith(before.reason)
    assert after.stands_for == before.key


def test_batch_sizes_change_nothing(semantic: ApplicationModel) -> None:
    batch = joined(*(reworded(order(seed), new) for seed, new in enumerate((NEW, OLD, OPPOSITE, NEW.upper(), NEW))))
    whole, single = fresh_detector(semantic), fresh_detector(semantic)
    assert in_parts(single, batch, [1] * len(batch)) == told(whole, batch)
    assert dict(single.stand_ins) == dict(whole.stand_ins)
    assert whole.stand_ins


def test_a_key_keeps_its_stand_in(semantic: ApplicationModel) -> None:
    detector = fresh_detector(semantic)
    batches = [reworded(order(seed)) for seed in (1, 2, 3)]
    found = {tuple(detector.score(batch).stands_for.values()) for batch in batches}
    assert len(found) == len(detector.stand_ins) == 1


def test_a_key_stands_for_itself_in_a_version_that_has_learned_it_and_not_after_a_roll_back(
    semantic: ApplicationModel,
) -> None:
    batch = reworded(order(1))
    detector = fresh_detector(semantic)
    first = detector.score(batch)
    (key,) = detector.stand_ins
    no_windows = np.zeros((0, semantic.key_model.config.history), np.int64)
    key_model = with_new_keys(semantic.key_model, [key], no_windows, usual_nats=5.0)
    profile = with_new_units(semantic.behaviour.profile, [key_model.vocabulary.unit_table()[key]], anywhere=True)
    learned = replace(semantic, behaviour=replace(semantic.behaviour, key_model=key_model, profile=profile))
    detector.adopt(detector.judges_of(learned))
    assert (dict(detector.stand_ins), detector.score(batch).stands_for) == ({}, {})
    detector.adopt(detector.judges_of(semantic))
    again = detector.score(replace(batch, sessions=["another"] * len(batch)))
    assert again.stands_for == first.stands_for != {}
    assert again.kinds.tolist() == first.kinds.tolist()


def test_what_has_no_template_of_its_own_stands_for_nothing(semantic: ApplicationModel) -> None:
    state = semantic.parser.state()
    state["config"]["max_templates"] = len(semantic.parser.templates())
    detector = Detector(replace(semantic, parser=Parser.from_state(state)))
    batch = reworded(order(1))
    scored = detector.score(batch)
    assert detector.template(int(scored.keys[row_of(batch, NEW)])) == "<*>"
    assert scored.kinds[row_of(batch, NEW)] == Kind.UNSEEN_KEY


def test_a_bundle_keeps_the_mode(semantic: ApplicationModel, tmp_path: Path) -> None:
    save_bundle(semantic, tmp_path / "model", report={})
    batch = reworded(order(1))
    assert told(Detector(load_bundle(tmp_path / "model")), batch) == told(Detector(fresh(semantic)), batch)


def fresh(model: ApplicationModel) -> ApplicationModel:
    return replace(model, parser=Parser.from_state(model.parser.state()))


def test_training_starts_from_templates_only_with_the_mode(
    trained: ApplicationModel, training_log: SimulatedLog
) -> None:
    def weights(*, semantic: bool) -> np.ndarray:
        trainer = Trainer()
        trainer.add(entries_of(training_log.lines[:400]))
        config = replace(trained.key_model.config, epochs=1, semantic=semantic)
        model, _ = trainer.fit(application="orders", version=1, config=config, seed=1)
        assert model.key_model.config.semantic is semantic
        return model.key_model.weights()["embedding.weight"].numpy()

    assert np.abs(weights(semantic=True) - weights(semantic=False)).max() > 1.0
