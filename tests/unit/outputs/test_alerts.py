"""When alerts are told of, by a clock in the test's hand."""

from dataclasses import replace

from deeplog_grpc.outputs.alerts import MORE, Alert, AlertBook, AlertRules, Sighting

RULES = AlertRules(repeat_s=100, resolve_s=50, max_per_minute=10)


def seen(group: str, at_s: float) -> Sighting:
    return Sighting(group_id=group, at_s=at_s)


def step(book: AlertBook, now: float) -> list[tuple[str, str, int]]:
    """What is due, reported as sent: occasion, group, new anomalies."""
    notices = book.due(now)
    book.told(notices, now=now)
    return [(notice.occasion.value, notice.alert.group_id, notice.new_count) for notice in notices]


def test_first_then_a_reminder_then_resolved() -> None:
    book = AlertBook(replace(RULES, resolve_s=150))
    book.see([seen("a", 10), seen("a", 11)], now=12)
    assert step(book, 12) == [("firing", "a", 2)]
    book.see([seen("a", 20)], now=20)
    assert step(book, 20) == []
    assert step(book, 111) == []
    assert step(book, 112) == [("reminder", "a", 1)]
    assert step(book, 169) == []
    assert step(book, 170) == [("resolved", "a", 0)]
    assert len(book) == 0
    book.see([seen("a", 500)], now=500)
    assert step(book, 500) == [("firing", "a", 1)]


def test_no_reminder_without_news() -> None:
    book = AlertBook(replace(RULES, resolve_s=1_000))
    book.see([seen("a", 0.5)], now=1)
    step(book, 1)
    assert [step(book, now) for now in (101, 201, 900)] == [[], [], []]


def test_what_was_not_reported_as_sent_is_due_again_with_what_came_since() -> None:
    book = AlertBook(RULES)
    book.see([seen("a", 1)], now=1)
    assert [notice.new_count for notice in book.due(1)] == [1]
    book.see([seen("a", 2)], now=2)
    assert step(book, 2) == [("firing", "a", 2)]


def test_an_alert_that_could_not_be_told_in_time_is_told_and_then_resolved() -> None:
    book = AlertBook(RULES)
    book.see([seen("a", 1)], now=1)
    assert step(book, 1_000) == [("firing", "a", 1)]
    assert step(book, 1_000) == [("resolved", "a", 0)]


def test_feedback_resolves_at_once_and_silences_what_was_not_told() -> None:
    book = AlertBook(RULES)
    book.see([seen("a", 1)], now=1)
    step(book, 1)
    book.see([seen("b", 2)], now=2)
    book.settle(["a", "b", "unknown"])
    assert step(book, 2) == [("resolved", "a", 0)]
    assert len(book) == 0


def test_an_anomaly_while_resolved_is_under_way_opens_another_alert() -> None:
    book = AlertBook(RULES)
    book.see([seen("a", 1)], now=1)
    step(book, 1)
    notices = book.due(60)
    book.see([seen("a", 61)], now=61)
    book.told(notices, now=61)
    assert step(book, 61) == [("firing", "a", 1)]


def test_a_flood_is_summed_up_in_one_alert() -> None:
    book = AlertBook(replace(RULES, max_per_minute=3, resolve_s=200))
    book.see([seen(f"g{number}", number) for number in range(10)], now=10)
    assert step(book, 10) == [("firing", "g0", 1), ("firing", "g1", 1), ("firing", "g2", 1)]
    assert step(book, 10) == [("firing", MORE, 7)]
    book.see([seen("late", 11)], now=11)
    assert step(book, 11) == []
    assert ("reminder", MORE, 1) in step(book, 71)


def test_a_held_group_that_goes_on_is_told_of_when_the_limit_allows() -> None:
    book = AlertBook(replace(RULES, max_per_minute=1, resolve_s=1_000))
    book.see([seen("a", 1), seen("b", 2)], now=2)
    step(book, 2)
    step(book, 2)
    book.see([seen("b", 90)], now=90)
    assert step(book, 101) == []
    assert step(book, 102) == [("firing", "b", 1)]


def test_a_held_group_that_ends_is_forgotten_without_a_word() -> None:
    book = AlertBook(replace(RULES, max_per_minute=1))
    book.see([seen("a", 1), seen("b", 2)], now=2)
    step(book, 2)
    step(book, 2)
    assert sorted(step(book, 60)) == [("resolved", MORE, 0), ("resolved", "a", 0)]
    assert len(book) == 0


def test_resends_are_no_news_and_cost_nothing() -> None:
    book = AlertBook(replace(RULES, resend_s=10, resolve_s=1_000, max_per_minute=1))
    book.see([seen("a", 1)], now=1)
    step(book, 1)
    assert [step(book, now) for now in (10, 11, 12, 21)] == [[], [("resend", "a", 0)], [], [("resend", "a", 0)]]


def test_a_clock_that_was_set_back_keeps_nothing_open() -> None:
    book = AlertBook(RULES)
    book.see([seen("a", 1_000_000)], now=10)
    step(book, 10)
    assert step(book, 60) == [("resolved", "a", 0)]


def test_open_alerts_are_bounded() -> None:
    book = AlertBook(replace(RULES, max_per_minute=2), max_alerts=20)
    for number in range(200):
        book.see([seen(f"g{number}", number / 100)], now=number / 100)
        step(book, number / 100)
    assert len(book) <= 21  # and the one on all the others


def test_changes_are_told_once_and_again_when_they_could_not_be_kept() -> None:
    book = AlertBook(RULES)
    book.see([seen("a", 1)], now=1)
    (changed,), gone = book.take_changes()
    assert (changed.group_id, gone, book.take_changes()) == ("a", [], ([], []))
    book.put_back(["a"])
    assert [alert.group_id for alert in book.take_changes()[0]] == ["a"]
    book.settle(["a"])
    assert book.take_changes() == ([], ["a"])


def test_a_book_of_kept_alerts_goes_on_where_it_was() -> None:
    book = AlertBook(RULES)
    book.see([seen("a", 1)], now=1)
    step(book, 1)
    kept: list[Alert] = book.take_changes()[0]
    again = AlertBook(RULES, kept)
    assert step(again, 2) == []
    assert [notice.occasion.value for notice in again.due(51)] == ["resolved"]
