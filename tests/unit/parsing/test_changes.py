"""What happens to templates after they were founded: events, forgetting, splits; templates and masks given by users."""

import json

import pytest

from deeplog_grpc.parsing import EventKind, ParsedBatch, Parser, ParserConfig, TemplateEvent

REVIEW_LINES = 16 * 1024


def kinds(batch: ParsedBatch) -> list[tuple[str, int, int | None, int]]:
    return [(event.kind.value, event.key, event.other, event.row) for event in batch.events]


def moved(event: TemplateEvent, values: tuple[str, ...], slots: int) -> list[str | None]:
    """Values read by the template before the event, at the places the event names."""
    result: list[str | None] = [None] * slots
    for value, slot in zip(values, event.slots, strict=True):
        if slot >= 0:
            result[slot] = value
    return result


def test_each_change_is_told_once_with_its_row() -> None:
    parser = Parser()
    names = ("alpha_one", "beta_two", "gamma_three")
    assert kinds(parser.parse(["x 1", "x 2", *(f"loaded the file {name}" for name in names)])) == [
        ("created", 0, None, 0),
        ("created", 1, None, 2),
        ("created", 2, None, 3),
        ("merged", 2, 1, 4),
        ("generalised", 1, None, 4),
    ]
    assert parser.parse(["x 1", "loaded the file delta_four"]).events == ()


def test_a_generalisation_tells_where_the_parameters_went() -> None:
    parser = Parser()
    line = "session 7 opened for user ann from 10.0.0.1"
    values = parser.parse([line]).parameters(0)
    batch = parser.parse(["session 8 opened for user bob from 10.0.0.2"])
    (event,) = batch.events
    assert event.slots == (0, 2)
    assert moved(event, values, 3) == ["7", None, "10.0.0.1"]
    assert parser.parse([line]).parameters(0) == ("7", "ann", "10.0.0.1")


def test_a_merge_tells_where_the_parameters_of_the_alias_are() -> None:
    parser = Parser()
    names = ("alpha_one", "beta_two", "gamma_three")
    lines = [f"step 7 loaded the file {name} in 9 ms" for name in names]
    old = parser.parse(lines[1:2]).parameters(0)
    parser = Parser()
    merged, generalised = parser.parse(lines).events[-2:]
    assert (merged.kind, merged.key, merged.other, merged.slots) == (EventKind.MERGED, 1, 0, (0, 2))
    assert generalised.slots == (0, 2)
    assert moved(merged, old, 3) == ["7", None, "9"]
    assert parser.parse(lines[1:2]).parameters(0) == ("7", "beta_two", "9")


def test_slots_that_became_one_have_no_place() -> None:
    parser = Parser()
    parser.parse(["sent 7 bytes to main"])
    (event,) = parser.parse(["sent 1165 bytes (1.13 KB) to main"]).events
    assert event.slots == (-1,)
    assert parser.parse(["sent 7 bytes to main"]).parameters(0) == ("7 bytes",)


def phases(*words: str) -> list[str]:
    return [f'pump 7 phase="{words[n % len(words)]}" after {n} ms' for n in range(REVIEW_LINES)]


def test_a_parameter_that_only_ever_had_a_few_states_is_split() -> None:
    parser = Parser()
    lines = phases("starting", "starting", "stopping")
    batch = parser.parse(lines)
    assert set(batch.keys.tolist()) == {0}
    large, small = batch.events[-2:]
    assert (large.kind, large.key, large.other, large.slots) == (EventKind.SPLIT, 0, 0, (0, -1, 1))
    assert (small.kind, small.key, small.other, small.slots) == (EventKind.SPLIT, 1, 0, (0, -1, 1))
    assert large.row == small.row == REVIEW_LINES - 1
    after = parser.parse(lines[:3])
    assert after.keys.tolist() == [0, 0, 1]
    assert [(t.text, t.count) for t in parser.templates()] == [
        ('pump <*> phase="starting" after <*> ms', 10923 + 2),
        ('pump <*> phase="stopping" after <*> ms', 5461 + 1),
    ]
    assert moved(small, ("7", "stopping", "2"), 2) == list(after.parameters(2))


def test_a_split_template_takes_no_third_word_in() -> None:
    parser = Parser()
    parser.parse(phases("starting", "stopping"))
    assert parser.parse(['pump 7 phase="pausing" after 2 ms']).keys.tolist() == [2]


@pytest.mark.parametrize(
    "words", [("root", "guest"), tuple(f"{a}ing" for a in ("start", "stopp", "paus", "f", "g", "h"))]
)
def test_names_and_many_words_stay_a_parameter(words: tuple[str, ...]) -> None:
    parser = Parser()
    parser.parse(phases(*words))
    assert [template.text for template in parser.templates()] == ['pump <*> phase="<*>" after <*> ms']


def test_a_sealed_template_is_not_split() -> None:
    parser = Parser()
    lines = phases("starting", "stopping")
    parser.parse(lines[:2])
    parser.seal()
    parser.parse(lines)
    assert len(parser.templates()) == 1


def test_splits_do_not_depend_on_batches_and_are_saved() -> None:
    lines = phases("starting", "stopping") + phases("starting", "stopping")[:10]
    whole, parts = Parser(), Parser()
    expected = whole.parse(lines).keys.tolist()
    found = []
    for start in range(0, len(lines), 1000):
        found += parts.parse(lines[start : start + 1000]).keys.tolist()
        parts = Parser.from_state(json.loads(json.dumps(parts.state())))
    assert found == expected
    assert len(set(expected[-10:])) == 2
    assert parts.state() == whole.state()


def test_a_forgotten_template_is_learned_anew() -> None:
    parser = Parser()
    parser.parse(["user 7 left", "disk full"])
    parser.seal()
    event = parser.forget(0)
    assert (event.kind, event.key, event.row) == (EventKind.FORGOTTEN, 0, -1)
    batch = parser.parse(["disk full", "user 7 left", "user 8 left"])
    assert batch.keys.tolist() == [1, 2, 2]
    assert batch.is_new.tolist() == [False, True, False]
    assert [template.key for template in parser.templates()] == [1, 2]
    assert parser.template(0).text == "user <*> left"
    loaded = Parser.from_state(json.loads(json.dumps(parser.state())))
    assert loaded.template(0) == parser.template(0)
    assert loaded.state() == parser.state()


def test_forgetting_an_alias_forgets_what_it_became() -> None:
    parser = Parser()
    lines = [f"loaded the file {name}" for name in ("alpha_one", "beta_two", "gamma_three")]
    parser.parse(lines)
    assert parser.forget(1).key == 0
    assert parser.parse(lines[:1]).keys.tolist() == [2]
    assert Parser.from_state(parser.state()).state() == parser.state()


def test_forgetting_makes_room() -> None:
    parser = Parser(ParserConfig(max_templates=1))
    assert parser.parse(["one", "two"]).keys.tolist() == [0, 1]
    parser.forget(0)
    assert parser.parse(["two", "one"]).keys.tolist() == [2, 1]
    assert parser.forget(1).key == 1
    assert parser.limited == 0


@pytest.mark.parametrize("key", [-1, 1, 7])
def test_an_unknown_key_cannot_be_forgotten(key: int) -> None:
    parser = Parser()
    parser.parse(["one"])
    with pytest.raises(ValueError, match=f"log key {key}"):
        parser.forget(key)


def test_a_key_cannot_be_forgotten_twice() -> None:
    parser = Parser()
    parser.parse(["one"])
    parser.forget(0)
    with pytest.raises(ValueError, match="log key 0"):
        parser.forget(0)


def test_seed_templates_have_the_first_keys_and_are_sealed() -> None:
    config = ParserConfig(seed_templates=("user <*> logged in from <*>", "level 3 reached"))
    parser = Parser(config)
    assert [(t.key, t.text, t.count) for t in parser.templates()] == [
        (0, "user <*> logged in from <*>", 0),
        (1, "level <*> reached", 0),
    ]
    batch = parser.parse(["level 4 reached", "user ann logged in from 10.0.0.1", "user bob lost"])
    assert batch.keys.tolist() == [1, 0, 2]
    assert batch.parameters(1) == ("ann", "10.0.0.1")
    assert Parser.from_state(json.loads(json.dumps(parser.state()))).state() == parser.state()


def test_a_seed_that_says_the_same_as_another_is_refused() -> None:
    with pytest.raises(ValueError, match=r"seed_templates\[1\].*level 5"):
        Parser(ParserConfig(seed_templates=("level <*>", "level 5")))


def test_what_a_user_mask_finds_is_a_parameter() -> None:
    lines = ["packed ORD:KX today", "packed ORD:LM today", "packed [left top] today"]
    assert Parser().parse(lines[:2]).keys.tolist() == [0, 1]
    parser = Parser(ParserConfig(masks={"order": "ORD:[A-Z]+", "place": r"\[[a-z ]+\]"}))
    batch = parser.parse(lines)
    assert batch.keys.tolist() == [0, 0, 0]
    assert [batch.parameters(row) for row in range(3)] == [("ORD:KX",), ("ORD:LM",), ("[left top]",)]
    assert [parser.mask_name(batch.parameters(row)[0]) for row in range(3)] == ["order", "order", "place"]
    loaded = Parser.from_state(json.loads(json.dumps(parser.state())))
    assert loaded.parse(["packed ORD:NEW today"]).keys.tolist() == [0]


@pytest.mark.parametrize(
    ("pattern", "reason"), [("(", "not a regular expression"), ("x*", "empty text"), ("(?=x)", "RE2")]
)
def test_a_bad_mask_is_named(pattern: str, reason: str) -> None:
    with pytest.raises(ValueError, match=rf"masks\['order'\].*{reason}"):
        ParserConfig(masks={"fine": "y", "order": pattern})
