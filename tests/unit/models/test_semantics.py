import numpy as np
import pytest

from deeplog_grpc.models import BEGIN, END, UNSEEN, SemanticIndex, Vocabulary
from deeplog_grpc.models.semantics import initial_embeddings

TEMPLATES = {
    1: ("interface ", " changed state to up"),
    2: ("interface ", " changed state to down"),
    3: ("lease of ", " renewed by ", ""),
    4: ("user ", " signed in from ", ""),
    5: ("disk scan of ", " found bad sector"),
    6: ("opened port ", " for channel red"),
    7: ("opened port ", " for channel blue"),
}


def stand_in(*pieces: str, normal: tuple[int, ...] = tuple(TEMPLATES), least: float = 0.7) -> int | None:
    found = SemanticIndex(TEMPLATES, normal=normal, least=least).stand_in(pieces)
    return None if found is None else found.key


def embeddings(templates: dict[int, tuple[str, ...]], seed: int = 0) -> np.ndarray:
    return initial_embeddings(Vocabulary.of(TEMPLATES, reserve=4), templates, width=256, seed=seed)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def test_like_templates_start_alike_and_not_equal() -> None:
    _, _, _, up, down, lease, *_ = embeddings(TEMPLATES)
    assert 0.4 < cosine(up, down) < 0.95
    assert abs(cosine(up, lease)) < 0.25


def test_embeddings_are_as_large_as_others_and_a_key_without_words_has_one() -> None:
    found = embeddings({**TEMPLATES, 3: ("", "")})
    assert found.shape == (3 + len(TEMPLATES) + 4, 256)
    assert found.dtype == np.float32
    assert found.std(axis=1) == pytest.approx(1.0, abs=0.25)


def test_embeddings_depend_on_seed_and_templates_alone() -> None:
    assert (embeddings(TEMPLATES) == embeddings(dict(reversed(TEMPLATES.items())))).all()
    assert (embeddings(TEMPLATES) != embeddings(TEMPLATES, seed=1)).any()
    plain = embeddings({})
    for special in (BEGIN, END, UNSEEN):
        assert (embeddings(TEMPLATES)[special] == plain[special]).all()


def test_a_rephrased_template_is_found_and_its_opposite_is_not_taken() -> None:
    assert stand_in("Interface ", " has changed its link state to: up") == 1
    assert stand_in("Interface ", " has changed its link state to: down") == 2
    assert stand_in("interface ", " changed state to unknown") is None
    assert stand_in("interface ", " did not change state to up") is None


def test_equal_words_are_as_near_as_can_be() -> None:
    found = SemanticIndex(TEMPLATES, normal=TEMPLATES, least=1.0).stand_in(("LEASE OF ", " renewed by ", "!"))
    assert found is not None
    assert found.key == 3
    assert found.similarity == pytest.approx(1.0)


def test_nothing_stands_in_for_what_is_far_or_empty() -> None:
    assert stand_in("kernel panic in module ", "") is None
    assert stand_in("", "") is None
    assert stand_in("") is None
    assert SemanticIndex({}, normal=(), least=0.5).stand_in(("lease of ", "")) is None


def test_the_limit_is_the_similarity_that_is_told() -> None:
    new = ("the weekly lease of ", " renewed early by ", "")
    found = SemanticIndex(TEMPLATES, normal=TEMPLATES, least=0.1).stand_in(new)
    assert found is not None
    assert stand_in(*new, least=found.similarity - 1e-6) == 3
    assert stand_in(*new, least=found.similarity + 1e-6) is None


def test_what_was_too_rare_to_be_normal_stands_in_for_nothing_and_hides_what_is_behind_it() -> None:
    assert stand_in("disk scan of ", " has found a bad sector") == 5
    assert stand_in("disk scan of ", " has found a bad sector", normal=(1, 2, 3, 4)) is None


def test_words_that_tell_known_templates_apart_decide() -> None:
    one = {key: TEMPLATES[key] for key in (3, 6)}
    new = ("opened port ", " for the channel")
    found = SemanticIndex(one, normal=one, least=0.6).stand_in(new)
    assert found is not None
    assert found.key == 6  # with no other channel known, the colour may be left out
    assert stand_in(*new, least=0.6) is None


def test_a_word_that_one_known_template_has_more_decides_elsewhere_too() -> None:
    templates = {1: ("queue ", " emptied by worker"), 2: ("job ", " sent on"), 3: ("remote job ", " sent on")}
    index = SemanticIndex(templates, normal=templates, least=0.5)
    assert index.stand_in(("local queue ", " emptied by worker")) is not None
    assert index.stand_in(("remote queue ", " emptied by worker")) is None


def test_equal_words_are_found_whatever_other_templates_differ_in() -> None:
    templates = {1: ("queue ", " emptied by worker"), 2: ("job ", " sent on"), 3: ("remote job ", " sent on")}
    found = SemanticIndex(templates, normal=templates, least=0.9).stand_in(("Queue ", " emptied by worker."))
    assert found is not None
    assert found.key == 1


def test_two_templates_equally_near_are_none() -> None:
    templates = {1: ("copy of big table ", " made in red zone"), 2: ("copy of wide table ", " made in red room")}
    index = SemanticIndex(templates, normal=templates, least=0.5)
    assert index.stand_in(("copy of table ", " made in red")) is None


def test_a_name_at_the_place_of_a_parameter_is_a_parameter() -> None:
    assert stand_in("User ann has signed in from ", "") == 4
    assert stand_in("user ", " has signed in") is None  # a parameter less: another message


def test_the_order_of_templates_changes_nothing() -> None:
    new = ("the lease of ", " was renewed by ", "")
    turned = dict(reversed(TEMPLATES.items()))
    assert SemanticIndex(turned, normal=turned, least=0.7).stand_in(new) == SemanticIndex(
        TEMPLATES, normal=TEMPLATES, least=0.7
    ).stand_in(new)
