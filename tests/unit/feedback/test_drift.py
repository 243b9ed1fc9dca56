from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from math import erfc, exp, sqrt
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deeplog_grpc.detection.verdicts import NO_KEY
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.feedback import DriftConfig, DriftMonitor, DriftReport
from deeplog_grpc.feedback.drift import KEPT_KEYS, SHOWN_PARTS, excess_p_value
from deeplog_grpc.v1 import model_pb2

WINDOW_NS = 600 * NS_PER_S
FIRST = 2_800_000
"""Number of the first window: in the year 2023."""
DAY = 144
"""Windows of a day."""


class Feed:
    """A monitor that gets one batch a window."""

    def __init__(self, config: DriftConfig | None = None, *, promised: float = 0.001) -> None:
        self.monitor = DriftMonitor(config, expected_share=promised)
        self.window = FIRST

    def windows(self, count: int, *, entries: int = 2000, unseen: int = 0, **alarms: int) -> DriftReport:
        """Feed windows; `k7=3` are three alarms of log key 7, `ends=3` are three ends of sessions."""
        by_key = {NO_KEY if name == "ends" else int(name[1:]): alarms_of for name, alarms_of in alarms.items()}
        for _ in range(count):
            self.monitor.add(self.window * WINDOW_NS, entries=entries, alarms=by_key, unseen=unseen)
            self.window += 1
        return self.monitor.report()

    def close(self) -> DriftReport:
        """End the open window, by the first batch of the next one."""
        return self.windows(1, entries=0)


def test_the_report_is_that_of_the_contract() -> None:
    contract = {one.name for one in model_pb2.DriftReport.DESCRIPTOR.fields} - {"application"}
    assert {"since_unix_nano" if one.name == "since_ns" else one.name for one in fields(DriftReport)} == contract


@pytest.mark.parametrize("promised", [1.0, 0.5])
@pytest.mark.parametrize("rate", [0.0, 0.0002, 0.001, 0.01, 0.05])
def test_noise_is_no_drift(rate: float, promised: float) -> None:
    random = np.random.default_rng(7)
    sizes = (10 ** random.uniform(1, 5, 10_000)).astype(int)  # from 10 entries, which cannot speak, to 100,000
    monitor = DriftMonitor(expected_share=rate * promised)
    far = 0
    for window, (entries, alarms, unseen) in enumerate(
        zip(
            sizes.tolist(),
            random.poisson(sizes * rate).tolist(),
            random.poisson(sizes * rate / 3).tolist(),
            strict=True,
        ),
        start=FIRST,
    ):
        monitor.add(window * WINDOW_NS, entries=entries, alarms={1: alarms}, unseen=unseen)
        report = monitor.report()
        assert not report.is_drifting
        far += "unless it lasts" in report.message
    assert far == 0
    assert report.usual_alarm_share == pytest.approx(rate, rel=0.15, abs=2e-5)


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.05])
@pytest.mark.parametrize("entries", [10_000, 100_000])
def test_ten_times_the_usual_alarms_are_found_in_time(rate: float, entries: int) -> None:
    random = np.random.default_rng(3)
    feed = Feed(promised=rate)
    for alarms in random.poisson(rate * entries, 100).tolist():
        assert not feed.windows(1, entries=entries, k1=alarms).is_drifting
    rise = feed.window
    # It begins in the middle of a window, as it would.
    rates = [rate * 5.5, rate * 10, rate * 10, rate * 10]
    for at_rate in rates:
        feed.windows(1, entries=entries, k1=int(random.poisson(at_rate * entries)))
    report = feed.close()
    assert report.is_drifting
    assert report.since_ns in (rise * WINDOW_NS, (rise + 1) * WINDOW_NS)
    assert report.usual_alarm_share == pytest.approx(rate, rel=0.2)
    assert report.alarm_share == pytest.approx(10 * rate, rel=0.3)


def test_a_doubling_is_no_drift() -> None:
    feed = Feed(promised=0.01)
    feed.windows(50, entries=20_000, k1=200)
    feed.windows(4, entries=20_000, k1=400)
    assert feed.close().message.startswith("no drift: ")


def test_far_above_usual_is_next_to_impossible_at_three_times_the_rate() -> None:
    feed = Feed()
    feed.windows(10, k1=2)
    feed.windows(1, k1=19)  # 2e-5 where 6 are expected
    assert "unless" not in feed.close().message
    feed = Feed()
    feed.windows(10, k1=2)
    feed.windows(1, k1=22)  # 4e-7
    assert "unless" in feed.close().message


def test_unseen_log_keys_alone_can_drift() -> None:
    feed = Feed()
    feed.windows(20, k1=2)
    feed.windows(4, k1=2, unseen=60)
    report = feed.close()
    assert report.is_drifting
    assert (report.unseen_share, report.alarm_share) == (0.03, 0.001)
    assert report.message.startswith("entries with unseen log keys are 3 % of the entries since 2023-03-")


def test_logs_that_break_the_promise_from_the_first_entry_on_drift() -> None:
    feed = Feed(promised=0.001)
    report = feed.windows(4, k1=100)
    assert report.is_drifting
    assert report.since_ns == FIRST * WINDOW_NS
    assert "50 times what training promises" in report.message


def test_a_burst_of_one_window_is_no_drift_and_not_usual() -> None:
    feed = Feed()
    feed.windows(30, k1=2)
    feed.windows(1, k1=2, k2=1000)
    report = feed.close()
    assert not report.is_drifting
    assert report.since_ns == 0
    assert report.alarm_share == 0.501
    assert report.usual_alarm_share == pytest.approx(0.001)
    assert report.message.startswith("no drift unless it lasts: alarms are 50.1 % of the entries since ")
    assert report.message.endswith(", 501 times what is usual, for 1 of 3 windows")
    feed.window -= 1
    feed.windows(30, k1=2)
    report = feed.close()
    assert not report.is_drifting
    assert "unless" not in report.message
    assert report.usual_alarm_share == pytest.approx(0.001)


def test_bursts_with_quiet_windows_between_are_no_drift() -> None:
    feed = Feed()
    for _ in range(20):
        feed.windows(2, k1=500)
        assert not feed.windows(1, k1=2).is_drifting


def test_recovery_ends_it_after_as_many_windows() -> None:
    feed = Feed()
    feed.windows(10, k1=2)
    assert feed.windows(51, k1=100).is_drifting
    drifting = [feed.windows(1, k1=2) for _ in range(4)]  # the first call ends the last window that was far above
    assert [report.is_drifting for report in drifting] == [True, True, True, False]
    assert "but not in the latest window" not in drifting[0].message
    assert "but not in the latest window" in drifting[1].message
    assert drifting[2].since_ns == (FIRST + 10) * WINDOW_NS
    assert drifting[3].since_ns == 0
    assert drifting[3].message == "no drift: alarms are 0.1 % of the entries, 0.1 % is usual"


def test_a_quiet_window_does_not_end_it() -> None:
    feed = Feed()
    feed.windows(10, k1=2)
    feed.windows(4, k1=100)
    for _ in range(10):
        feed.windows(2, k1=2)
        assert feed.windows(1, k1=100).is_drifting


def test_what_is_usual_stands_still_during_a_drift() -> None:
    feed = Feed()
    feed.windows(10, k1=2)
    before = feed.windows(4, k1=100, unseen=50)
    after = feed.windows(1000, k1=100, unseen=50)
    assert before.is_drifting
    assert after.is_drifting
    assert (after.usual_alarm_share, after.usual_unseen_share) == (before.usual_alarm_share, before.usual_unseen_share)
    assert after.since_ns == before.since_ns


def test_silent_days_break_the_row_and_no_drift() -> None:
    feed = Feed()
    feed.windows(10, k1=2)
    feed.windows(2, k1=100)
    feed.window += 2 * DAY
    assert not feed.windows(3, k1=100).is_drifting
    report = feed.windows(1, k1=100)
    assert report.is_drifting
    assert report.since_ns == (feed.window - 4) * WINDOW_NS
    feed.window += 2 * DAY
    assert feed.windows(2, k1=2).is_drifting
    assert feed.windows(1, k1=2).since_ns == report.since_ns
    assert not feed.windows(1, k1=2).is_drifting


def test_a_silent_night_does_not_break_the_row() -> None:
    feed = Feed()
    feed.windows(10, k1=2)
    feed.windows(2, k1=100)
    feed.window += DAY // 2
    assert feed.windows(2, k1=100).is_drifting


def test_a_window_with_few_entries_goes_on() -> None:
    feed = Feed(DriftConfig(windows=1))
    feed.windows(10, k1=2)
    assert not feed.windows(2, entries=40, k1=40).is_drifting
    assert feed.monitor.report().entries == 2000
    feed.windows(1, entries=40, k1=40)
    report = feed.close()
    assert (report.is_drifting, report.entries, report.alarm_share) == (True, 120, 1.0)
    assert report.since_ns == (FIRST + 10) * WINDOW_NS
    # Nor does a window with few entries end it: here the one of close(), which has none, goes on.
    feed.window -= 1
    assert feed.windows(5, entries=20).is_drifting
    assert not feed.close().is_drifting


def test_a_window_with_few_entries_does_not_outlast_silence() -> None:
    feed = Feed(DriftConfig(windows=1))
    feed.windows(10, k1=2)
    feed.windows(1, entries=99, k1=99)
    feed.window += DAY
    feed.windows(1, k1=2)
    report = feed.close()
    assert (report.is_drifting, report.entries) == (False, 2000)


def test_what_runs_once_a_day_with_few_entries_is_watched() -> None:
    feed = Feed()
    for _ in range(30):
        feed.windows(1, entries=50)
        feed.window += DAY - 1
    for _ in range(10):
        report = feed.windows(1, entries=50, k1=20)
        feed.window += DAY - 1
    assert report.is_drifting


def test_batches_without_a_time_count_to_the_open_window() -> None:
    monitor = DriftMonitor(expected_share=0.001)
    monitor.add(0, entries=1000, alarms={1: 1}, unseen=0)
    assert monitor.report().entries == 1000
    monitor.add(FIRST * WINDOW_NS, entries=500, alarms={2: 1}, unseen=0)
    monitor.add(0, entries=1000, alarms={1: 1}, unseen=0)
    report = monitor.report()
    assert (report.entries, report.parts) == (2500, ((1, 2), (2, 1)))
    monitor.add((FIRST + 1) * WINDOW_NS, entries=10, alarms={}, unseen=0)
    ended = monitor.report()
    assert (ended.entries, ended.parts) == (report.entries, report.parts)


def test_without_any_time_no_window_ends() -> None:
    monitor = DriftMonitor(expected_share=0.001)
    for _ in range(1000):
        monitor.add(0, entries=1000, alarms={1: 500}, unseen=0)
    report = monitor.report()
    assert (report.is_drifting, report.entries, report.alarm_share) == (False, 1_000_000, 0.5)


def test_a_time_that_runs_backwards_counts_to_the_open_window() -> None:
    feed = Feed()
    feed.windows(10, k1=2)
    for back in (1, 5, 100, FIRST):
        feed.monitor.add((feed.window - back) * WINDOW_NS, entries=1000, alarms={5: 1}, unseen=1)
    report = feed.close()
    assert (report.entries, report.unseen_share, report.parts) == (6000, 4 / 6000, ((5, 4), (1, 2)))


def test_adapted_forgets_the_drift_and_keeps_what_is_usual() -> None:
    feed = Feed()
    feed.windows(30, k1=2)
    before = feed.windows(10, k1=100)
    feed.monitor.adapted()
    after = feed.monitor.report()
    assert (before.is_drifting, after.is_drifting, after.since_ns, after.entries, after.parts) == (
        True,
        False,
        0,
        0,
        (),
    )
    assert after.usual_alarm_share == before.usual_alarm_share
    assert after.message == "no drift: no entries were scored yet"
    assert not feed.windows(3, k1=100).is_drifting
    assert feed.windows(1, k1=100).is_drifting


def test_the_message_of_a_drift() -> None:
    feed = Feed()
    feed.windows(30, k1=2)
    report = feed.windows(5, k1=2, k7=30, k8=20, ends=20, k9=8)
    assert report.message == (
        "alarms are 4 % of the entries since 2023-03-28 15:40:00 UTC, 40 times what is usual; 87.5 % of the alarms are"
        " of 2 log keys and ends of sessions: if a deployment explains it, 'deeplog-grpc adapt' learns it as normal"
    )
    assert report.parts == ((7, 120), (-1, 80), (8, 80), (9, 32), (1, 8))


def test_parts_are_few_and_those_of_the_whole_drift() -> None:
    feed = Feed()
    feed.windows(10, k1=2)
    feed.windows(4, **{f"k{key}": 100 - key for key in range(50)})
    assert [key for key, _ in feed.windows(2, k40=3).parts] == list(range(SHOWN_PARTS))


def test_a_flood_of_unseen_keys_does_not_grow_it() -> None:
    feed = Feed()
    feed.windows(10, k1=2)
    keys = iter(range(100, 10**9))
    for _ in range(5):
        for _ in range(100):
            flood = {next(keys): 1 for _ in range(500)}
            feed.monitor.add(feed.window * WINDOW_NS, entries=600, alarms={**flood, 7: 50}, unseen=500)
        feed.window += 1
        assert _longest(feed.monitor) <= 2 * KEPT_KEYS
    report = feed.close()
    assert report.is_drifting
    assert (report.entries, report.alarm_share) == (60_000, 550 / 600)
    assert report.parts[0] == (7, 25_000)
    assert "spread over many log keys" in report.message


def _longest(monitor: DriftMonitor) -> int:
    windows = (monitor._open, monitor._latest, monitor._rise)
    return max(len(window.by_key) for window in windows if window is not None)


def test_a_batch_costs_little() -> None:
    monitor = DriftMonitor(expected_share=0.001)
    best_s = min(_cost_s(monitor, start) for start in range(5))
    assert best_s < 20e-6  # some 1e-6 when the machine is idle


def _cost_s(monitor: DriftMonitor, start: int) -> float:
    began_s = perf_counter()
    for batch in range(1000):
        monitor.add((FIRST + start) * WINDOW_NS + batch, entries=256, alarms={3: 1, 4: 1}, unseen=1)
    return (perf_counter() - began_s) / 1000


@pytest.mark.parametrize(
    "setting", [{"window_s": 0}, {"windows": 0}, {"min_entries": 0}, {"ratio": 1}, {"half_life": 3}, {"window_s": "x"}]
)
def test_a_bad_configuration_is_refused(setting: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DriftConfig(**setting)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_promise_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="expected_share"):
        DriftMonitor(expected_share=share)


# --- The chance of a count ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mean", [0.01, 0.3, 3.0, 50.0])
def test_the_chance_of_a_count_is_the_sum_of_its_terms(mean: float) -> None:
    below, term = 0.0, exp(-mean)
    for count in range(120):
        if count > mean and 1 - below > 1e-6:  # beyond, the difference has no digits left
            assert excess_p_value(count, mean) == pytest.approx(1 - below, rel=1e-8)
        below += term
        term *= mean / (count + 1)


@pytest.mark.parametrize(
    ("count", "mean", "chance"), [(1, 1e-9, 1e-9), (10, 1.0, 1.1142548e-07), (4, 0.03, 3.2949e-08)]
)
def test_known_chances(count: int, mean: float, chance: float) -> None:
    assert excess_p_value(count, mean) == pytest.approx(chance, rel=1e-4)


def test_chances_are_those_of_a_simulation() -> None:
    drawn = np.random.default_rng(1).poisson(40.0, 2_000_000)
    for count in (45, 55, 65):
        chance = excess_p_value(count, 40.0)
        assert float((drawn >= count).mean()) == pytest.approx(chance, abs=4 * sqrt(chance / len(drawn)))


@pytest.mark.parametrize("mean", [1e5, 1e7, 1e9])
def test_chances_of_large_counts_are_a_little_too_high_at_most(mean: float) -> None:
    for sigmas in (4.0, 5.0, 6.0):
        normal = 0.5 * erfc(sigmas / sqrt(2))
        chance = excess_p_value(round(mean + sigmas * sqrt(mean)), mean)
        assert normal * 0.95 < chance < normal * (1.1 + 1.5 * sigmas**3 / sqrt(mean))


@given(st.integers(0, 10**12), st.floats(0, 1e12))
def test_a_higher_count_is_never_more_likely(count: int, mean: float) -> None:
    assert 0 <= excess_p_value(count + 1, mean) <= excess_p_value(count, mean) * (1 + 1e-2) <= 1.01


# --- Whatever is added -------------------------------------------------------------------------------------------

_batches = st.lists(
    st.tuples(
        st.integers(0, 3 * 600) | st.sampled_from([0, 86_400, 3 * 86_400]),
        st.integers(0, 400),
        st.dictionaries(st.integers(-1, 5), st.integers(0, 300), max_size=4),
        st.integers(0, 100),
    ),
    max_size=40,
)
"""(seconds since the batch before, entries, alarms, unseen)."""
Batch = tuple[int, int, int, Mapping[int, int]]


def _timed(batches: list[tuple[int, int, dict[int, int], int]]) -> list[Batch]:
    now_ns, timed = FIRST * WINDOW_NS, list[Batch]()
    for seconds, entries, alarms, unseen in batches:
        now_ns += seconds * NS_PER_S
        timed.append((now_ns, entries, unseen, alarms))
    return timed


def _reports(batches: list[Batch], *, finally_ns: int) -> list[DriftReport]:
    """Reports at the end of each window of the clock, and at last."""
    monitor = DriftMonitor(DriftConfig(windows=2), expected_share=0.01)
    reports = []
    for row, (time_ns, entries, unseen, alarms) in enumerate(batches):
        monitor.add(time_ns, entries=entries, alarms=alarms, unseen=unseen)
        if row + 1 == len(batches) or batches[row + 1][0] // WINDOW_NS != time_ns // WINDOW_NS:
            reports.append(monitor.report())
    monitor.add(finally_ns, entries=0, alarms={}, unseen=0)
    return [*reports, monitor.report()]


@given(_batches, st.randoms(use_true_random=False))
def test_the_order_within_a_window_does_not_matter(
    batches: list[tuple[int, int, dict[int, int], int]], random: Any
) -> None:
    timed = _timed(batches)
    finally_ns = max((batch[0] for batch in timed), default=0) + WINDOW_NS
    shuffled = sorted(random.sample(timed, len(timed)), key=lambda batch: batch[0] // WINDOW_NS)
    assert _reports(shuffled, finally_ns=finally_ns) == _reports(timed, finally_ns=finally_ns)


@given(_batches, st.data())
def test_splitting_batches_changes_nothing(
    batches: list[tuple[int, int, dict[int, int], int]], data: st.DataObject
) -> None:
    timed = _timed(batches)
    finally_ns = max((batch[0] for batch in timed), default=0) + WINDOW_NS
    split: list[Batch] = []
    for time_ns, entries, unseen, alarms in timed:
        share = data.draw(st.floats(0, 1))
        some = Counter({key: int(share * count) for key, count in alarms.items()})
        others = {key: count - some[key] for key, count in alarms.items()}
        split.append((time_ns, int(share * entries), int(share * unseen), some))
        split.append((time_ns, entries - split[-1][1], unseen - split[-1][2], others))
    assert _reports(split, finally_ns=finally_ns) == _reports(timed, finally_ns=finally_ns)


@given(_batches)
def test_counts_are_exact_and_no_report_is_odd(batches: list[tuple[int, int, dict[int, int], int]]) -> None:
    for report in _reports(_timed(batches), finally_ns=2 * FIRST * WINDOW_NS):
        assert bool(report.since_ns) == report.is_drifting
        assert report.is_drifting != report.message.startswith("no drift")
        assert report.usual_alarm_share > 0
        if not report.is_drifting and report.entries:
            alarms = sum(count for _, count in report.parts)
            assert alarms == round(report.alarm_share * report.entries)
