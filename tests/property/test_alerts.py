"""Whatever comes, whenever, and however often sending fails: each alert is told of, and every anomaly counted once."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from deeplog_grpc.outputs.alerts import MORE, Alert, AlertBook, AlertRules, Occasion, Sighting

GROUPS = st.sampled_from([f"g{number}" for number in range(8)])
STEPS = st.lists(
    st.tuples(
        st.floats(0.1, 90),  # seconds since the step before
        st.lists(GROUPS, max_size=6),
        st.booleans(),  # whether sending succeeds
        st.booleans(),  # whether the process starts anew before it
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.integers(1, 4))
def test_every_alert_is_told_once_reminded_seldom_and_resolved(
    steps: list[tuple[float, list[str], bool, bool]], limit: int
) -> None:
    rules = AlertRules(repeat_s=100, resolve_s=60, max_per_minute=limit)
    kept: dict[str, Alert] = {}
    book = AlertBook(rules)
    now = 1.0
    told_s: dict[str, float] = {}
    firing_s: list[float] = []
    counted: defaultdict[str, int] = defaultdict(int)
    came: defaultdict[str, int] = defaultdict(int)
    starts = 1
    quiet = [(61.0, list[str](), True, False)] * 4
    for wait_s, groups, works, is_new in [*steps, *quiet]:
        now += wait_s
        if is_new:
            book, starts = AlertBook(rules, kept.values()), starts + 1
        book.see([Sighting(group_id=group, at_s=now) for group in groups], now=now)
        for group in groups:
            came[group] += 1
        notices = book.due(now)
        if works:
            for notice in notices:
                group = notice.alert.group_id
                match notice.occasion:
                    case Occasion.FIRING:
                        assert group not in told_s
                        told_s[group] = now
                        if group != MORE:
                            firing_s.append(now)
                    case Occasion.REMINDER:
                        assert now - told_s[group] >= (60 if group == MORE else 100)
                        assert notice.new_count > 0
                        told_s[group] = now
                        if group != MORE:
                            firing_s.append(now)
                    case Occasion.RESOLVED:
                        del told_s[group]
                        counted[group] += notice.alert.count
            book.told(notices, now=now)
        changed, gone = book.take_changes()
        kept |= {alert.group_id: alert for alert in changed}
        for group in gone:
            del kept[group]
    assert not told_s
    assert not len(book)
    assert all(counted[group] <= came[group] for group in came)
    if len(firing_s) < limit and MORE not in counted:
        assert counted == came
    for first in firing_s:  # a bucket that is full lets one minute's worth through at once, and so does each start
        assert sum(first <= at < first + 60 for at in firing_s) <= limit * (1 + starts)
