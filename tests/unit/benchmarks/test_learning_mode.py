"""How the alarms of a window are counted, and how repetitions differ."""

from benchmarks.learning_mode import ID, NS, Alarm, InjectedFault, LogRecord, judged, repeated, service_of

LASTING, ONCE = "4d2a46c7-71cb-4cf1-b5bb-b68406d9da6f", "88ebfbcebbbc0884eabd9178e1808940"
FAULT = InjectedFault(injected_ns=100 * NS, service="b", kind="return", records=())


def alarm(service: str, at_s: float) -> Alarm:
    return Alarm(time_ns=int(at_s * NS), service=service, group_id=f"{service}-{at_s}")


def test_the_injected_service_is_first_only_if_no_other_is_before_it() -> None:
    found = judged(FAULT, [alarm("a", 90), alarm("b", 99), alarm("b", 101), alarm("a", 102)])
    assert (found["found"], found["first"], found["own_s"], found["before"]) == (True, True, 1.0, 2)
    assert found["order"] == ["b", "a"]
    later = judged(FAULT, [alarm("a", 100), alarm("b", 101)])
    assert (later["found"], later["first"], later["before"]) == (True, False, 0)
    nothing = judged(FAULT, [alarm("b", 99.9)])
    assert (nothing["found"], nothing["first"], nothing["own_s"]) == (False, False, None)


def test_a_repetition_has_its_own_times_and_ids_but_for_those_that_last() -> None:
    records = [
        LogRecord(time_ns=5 * NS, service="a", trace=ONCE, text=f"TraceID: {ONCE} route {LASTING}", day="one"),
        LogRecord(time_ns=6 * NS, service="a", trace="", text=f"route {LASTING}", day="two"),
    ]
    first, second = repeated(records, 0, 50 * NS), repeated(records, 1, 90 * NS)
    assert [record.time_ns // NS for record in (*first, *second)] == [50, 51, 90, 91]
    assert len({ONCE, first[0].trace, second[0].trace}) == 3
    assert all(ID.findall(record.text) == [record.trace, LASTING] for record in (first[0], second[0]))
    assert first[1].text == second[1].text == records[1].text


def test_a_service_is_the_pod_without_its_hashes() -> None:
    assert service_of("ts-order-other-service-5b67c48447-fj8b7") == "ts-order-other-service"
