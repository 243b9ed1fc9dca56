"""Drift: whether abnormal entries have become far more than is usual, and stay so.

Event time is cut into windows. A window is far above usual when its count of alarms, or of unseen log keys, is next to
impossible (Poisson) even at several times the usual rate; several such windows in a row are a drift. Usual is what the
quiet windows before had, mixed with what training promises. During a drift the usual rates stand still: a drift that
lasts does not become usual by itself.

What it means is not said here, and cannot be: a deployment that changed the log looks like this, and so does an
incident that lasts. That is for a person to say, and nothing is learned before one has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from heapq import nsmallest
from itertools import accumulate
from math import exp, lgamma, log

from deeplog_grpc.detection.verdicts import NO_KEY
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.feedback.config import DriftConfig

FAR_P_VALUE = 1e-6
"""Chance of a window's count at `ratio` times the usual rate, below which the window is far above usual. Well below one
in all windows of a year (53,000 of ten minutes): alarms come in bursts, so that the true chance is higher."""

HALF_LIFE_WINDOWS = 24
"""Quiet windows after which one counts half for what is usual: hours, so that a noisy night is not held against the
day for long, and no window makes what is usual on its own."""

PROMISE_WINDOWS = 4
"""Quiet windows that the promise of training is worth: the first window alone does not make what is usual, and in a
system without any alarm the first few are no drift."""

LEAST_SHARE = 1e-4
"""Least share that is taken to be promised. At a promise of 0 any alarm would be infinitely above it."""

SILENCE_S = 86_400
"""Seconds of event time without an entry after which windows are not in a row any more. What runs once a day is."""

KEPT_KEYS = 1000
"""Log keys that are counted one by one; of more than twice as many, the rarest are dropped. The sums stay exact."""

SHOWN_PARTS = 20
"""Log keys that a report names, as the contract says."""

MOST = 0.8
"""Share of the alarms that a message calls most of them."""

_MAX_TERMS = 1000
"""Of the sum of a tail: exact up to a mean of about 10,000, a few per cent too high above, and always fast."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReport:
    """How an application's logs have moved away from training, as ``deeplog_grpc.v1.DriftReport``.

    The latest window is the latest one that ended and could be judged; before there is one, the open one.
    """

    is_drifting: bool
    """Whether the rise has lasted."""
    since_ns: int
    """Event time at which it began, in nanoseconds since 1970-01-01 UTC; 0 = there is none."""
    alarm_share: float
    """Abnormal entries and ends of sessions in the latest window by its entries; above 1 where more sessions ended."""
    usual_alarm_share: float
    """The same in the quiet windows before."""
    unseen_share: float
    """Entries with an unseen log key in the latest window by its entries."""
    usual_unseen_share: float
    """The same in the quiet windows before."""
    entries: int
    """Entries in the latest window."""
    window_s: float
    """Length of a window, in seconds of event time; one with few entries is longer."""
    parts: tuple[tuple[int, int], ...]
    """(log key, or -1 for the ends of sessions; alarms), most first, at most :data:`SHOWN_PARTS`: since the drift
    began, which is what adapting would learn; without a drift, of the latest window."""
    message: str
    """One sentence for a person."""


@dataclass(slots=True, kw_only=True)
class _Window:
    """Counts of a stretch of event time. `end_ns` 0 = no time is known yet."""

    begin_ns: int = 0
    end_ns: int = 0
    entries: int = 0
    alarms: int = 0
    unseen: int = 0
    by_key: dict[int, int] = field(default_factory=dict)

    def add(self, entries: int, alarms: Mapping[int, int], unseen: int) -> None:
        self.entries += entries
        self.unseen += unseen
        if alarms:
            self.alarms += sum(alarms.values())
            self._count(alarms)

    def _count(self, alarms: Mapping[int, int]) -> None:
        by_key = self.by_key
        for key, count in alarms.items():
            by_key[key] = by_key.get(key, 0) + count
        if len(by_key) > 2 * KEPT_KEYS:  # twice as many, so that they are seldom sorted
            self.by_key = dict(_most_frequent(by_key, KEPT_KEYS))

    def join(self, later: "_Window") -> None:
        """Add the counts of a window that came after this one."""
        self.end_ns = later.end_ns
        self.entries += later.entries
        self.alarms += later.alarms
        self.unseen += later.unseen
        self._count(later.by_key)

    @property
    def alarm_share(self) -> float:
        return self.alarms / self.entries if self.entries else 0.0

    @property
    def unseen_share(self) -> float:
        return self.unseen / self.entries if self.entries else 0.0


@dataclass(slots=True, kw_only=True)
class _Usual:
    """Shares of quiet windows, the latest counting most, and the promise as so many more windows."""

    promised: float
    windows: float = 0.0
    entries: float = 0.0
    alarms: float = 0.0
    unseen: float = 0.0

    def learn(self, window: _Window) -> None:
        kept = 0.5 ** (1 / HALF_LIFE_WINDOWS)
        self.windows = kept * self.windows + 1
        self.entries = kept * self.entries + window.entries
        self.alarms = kept * self.alarms + window.alarms
        self.unseen = kept * self.unseen + window.unseen

    def _mixed(self, count: float) -> float:
        measured = count / self.entries if self.entries else 0.0
        return (self.windows * measured + PROMISE_WINDOWS * self.promised) / (self.windows + PROMISE_WINDOWS)

    @property
    def alarm_share(self) -> float:
        return self._mixed(self.alarms)

    @property
    def unseen_share(self) -> float:
        """Training promises nothing of unseen keys by themselves; each is an alarm, so the same holds for them."""
        return self._mixed(self.unseen)


class DriftMonitor:
    """Watches the alarms of one application. One caller at a time; memory and time of a call are bounded.

    It says that alarms have become far more and stay so, never why: an incident that lasts looks just like a deployment
    that changed the log. Which one it is, is for a person to say.

    Parameters
    ----------
    config : DriftConfig, optional
        When a rise is called drift.
    expected_share : float
        Share of abnormal entries that calibration promises, in [0, 1]. It is what is usual as long as there were no
        quiet windows: logs that are unlike those of training from the first entry on are a drift as well.

    Raises
    ------
    ValueError
        If the share is none.

    Examples
    --------
    >>> monitor = DriftMonitor(expected_share=0.001)
    >>> for window in range(1000, 1010):
    ...     monitor.add(window * 600 * 10**9, entries=5000, alarms={3: 4}, unseen=0)
    >>> monitor.report().is_drifting, monitor.report().message
    (False, 'no drift: alarms are 0.08 % of the entries, 0.087 % is usual')
    >>> for window in range(1010, 1014):
    ...     monitor.add(window * 600 * 10**9, entries=5000, alarms={3: 4, 17: 120}, unseen=120)
    >>> monitor.report().is_drifting, monitor.report().parts
    (True, ((17, 360), (3, 12)))
    """

    def __init__(self, config: DriftConfig | None = None, *, expected_share: float) -> None:
        if not 0 <= expected_share <= 1:
            raise ValueError(f"expected_share: {expected_share} is not between 0 and 1")
        self._config = config or DriftConfig()
        self._window_ns = int(self._config.window_s * NS_PER_S)
        self._usual = _Usual(promised=max(LEAST_SHARE, expected_share))
        self._open = _Window()
        self._latest: _Window | None = None
        self._rise: _Window | None = None
        """All windows since the first that was far above usual; None = the latest one was not."""
        self._is_drifting = False
        self._in_row = 0
        """Windows in a row that speak against `_is_drifting`."""

    def add(self, time_ns: int, *, entries: int, alarms: Mapping[int, int], unseen: int) -> None:
        """Count a scored batch.

        Parameters
        ----------
        time_ns : int
            Event time of the batch, in nanoseconds since 1970-01-01 UTC. One that is before the open window, or 0 for
            one that is not known, counts to the open window.
        entries : int
            Scored entries.
        alarms : mapping
            Log key -> abnormal entries; -1 -> abnormal ends of sessions.
        unseen : int
            Entries with an unseen log key, whether or not they were judged as a known one.
        """
        window = self._open
        if time_ns >= window.end_ns and time_ns > 0:
            window = self._window_at(time_ns)
        window.add(entries, alarms, unseen)

    @property
    def is_drifting(self) -> bool:
        """Whether a rise has lasted."""
        return self._is_drifting

    def adapted(self) -> None:
        """Begin anew after the models learned a range as normal; what is usual stays."""
        self._open = _Window()
        self._latest = self._rise = None
        self._is_drifting = False
        self._in_row = 0

    def report(self) -> DriftReport:
        """How things stand."""
        latest = self._latest or self._open
        drift = self._rise if self._is_drifting else None
        return DriftReport(
            is_drifting=self._is_drifting,
            since_ns=drift.begin_ns if drift else 0,
            alarm_share=latest.alarm_share,
            usual_alarm_share=self._usual.alarm_share,
            unseen_share=latest.unseen_share,
            usual_unseen_share=self._usual.unseen_share,
            entries=latest.entries,
            window_s=self._config.window_s,
            parts=tuple(_most_frequent((drift or latest).by_key, SHOWN_PARTS)),
            message=self._message(latest),
        )

    def _window_at(self, time_ns: int) -> _Window:
        """The window of a time past the end of the open one.

        Windows begin at whole multiples of their length, and a window that goes on does so by whole ones: then neither
        the order of batches within a window nor how entries are put together to batches matters.
        """
        begin_ns = time_ns - time_ns % self._window_ns
        end_ns = begin_ns + self._window_ns
        window = self._open
        if not window.end_ns:
            window.begin_ns, window.end_ns = begin_ns, end_ns
            return window
        silence_ns = begin_ns - window.end_ns
        if window.entries >= self._config.min_entries:
            self._judge(window)
        elif silence_ns < SILENCE_S * NS_PER_S:
            window.end_ns = end_ns
            return window
        if silence_ns >= SILENCE_S * NS_PER_S:
            self._break_row()
        self._open = _Window(begin_ns=begin_ns, end_ns=end_ns)
        return self._open

    def _judge(self, window: _Window) -> None:
        is_far = self._has_far_more_alarms(window) or self._has_far_more_unseen(window)
        self._latest = window
        self._in_row = self._in_row + 1 if is_far != self._is_drifting else 0
        if self._in_row == self._config.windows:
            self._is_drifting = is_far
            self._in_row = 0
        if not (is_far or self._is_drifting):
            self._rise = None
            self._usual.learn(window)
        elif self._rise is None:
            self._rise = _Window(begin_ns=window.begin_ns)
            self._rise.join(window)
        else:
            self._rise.join(window)

    def _break_row(self) -> None:
        self._in_row = 0
        if not self._is_drifting:
            self._rise = None

    def _has_far_more_alarms(self, window: _Window) -> bool:
        return self._is_far(window.alarms, self._usual.alarm_share * window.entries)

    def _has_far_more_unseen(self, window: _Window) -> bool:
        return self._is_far(window.unseen, self._usual.unseen_share * window.entries)

    def _is_far(self, count: int, usual: float) -> bool:
        return excess_p_value(count, self._config.ratio * usual) < FAR_P_VALUE

    def _message(self, latest: _Window) -> str:
        if self._rise is None:
            if not latest.entries:
                return "no drift: no entries were scored yet"
            usual = (
                f"{_percent(self._usual.alarm_share)} is {'usual' if self._usual.windows else 'promised by training'}"
            )
            return f"no drift: alarms are {_percent(latest.alarm_share)} of the entries, {usual}"
        risen = self._what_rose(self._rise)
        if not self._is_drifting:
            return f"no drift unless it lasts: {risen}, for {self._in_row} of {self._config.windows} windows"
        over = ", but not in the latest window" if self._in_row else ""
        parts = _concentration(self._rise.by_key, self._rise.alarms)
        return f"{risen}{over}; {parts}if a deployment explains it, 'deeplog-grpc adapt' learns it as normal"

    def _what_rose(self, rise: _Window) -> str:
        """Alarms, unless it is only unseen log keys: those that were judged as known ones are no alarms."""
        if self._has_far_more_alarms(rise) or not self._has_far_more_unseen(rise):
            what, share, usual = "alarms", rise.alarm_share, self._usual.alarm_share
        else:
            what, share, usual = "entries with unseen log keys", rise.unseen_share, self._usual.unseen_share
        than = "what is usual" if self._usual.windows else "what training promises"
        return (
            f"{what} are {_percent(share)} of the entries since {_utc(rise.begin_ns)}, {_times(share / usual)} {than}"
        )


def excess_p_value(count: int, mean: float) -> float:
    """Chance that a Poisson number is at least as high as a count that is above its mean.

    Parameters
    ----------
    count : int
        >= 0.
    mean : float
        >= 0.

    Returns
    -------
    float
        In [0, 1]; 1 for a count that is not above the mean, which is never surprising. With means far above 10,000 a
        few per cent too high, never too low.

    Examples
    --------
    >>> excess_p_value(7, 0.3), excess_p_value(3, 3.0)
    (3.3...e-08, 1.0)
    """
    if count <= mean:
        return 1.0
    if mean <= 0:
        return 0.0
    total, term = 0.0, exp(count * log(mean) - mean - lgamma(count + 1))
    for above in range(count + 1, count + 1 + _MAX_TERMS):
        total += term
        term *= mean / above
        if term <= 1e-17 * total:
            break
    rest = term / (1 - mean / above)  # the terms that are left shrink at least so fast
    return min(1.0, total + rest)


def _most_frequent(by_key: Mapping[int, int], limit: int) -> list[tuple[int, int]]:
    """(key, count), most first; of two with the same count, the older log key first."""
    return nsmallest(limit, by_key.items(), key=lambda part: (-part[1], part[0]))


def _concentration(by_key: Mapping[int, int], alarms: int) -> str:
    """Say how few log keys have most of the alarms, as the middle of a sentence; empty without alarms.

    Examples
    --------
    >>> _concentration({5: 70, 9: 20, 2: 6, -1: 4}, 100)
    '90 % of the alarms are of 2 log keys: '
    >>> _concentration(dict.fromkeys(range(100), 1), 100)
    'the alarms are spread over many log keys: '
    """
    if not alarms:
        return ""
    parts = _most_frequent(by_key, SHOWN_PARTS)
    for place, covered in enumerate(accumulate(count for _, count in parts), start=1):
        if covered >= MOST * alarms:
            return f"{_percent(covered / alarms)} of the alarms are of {_named([key for key, _ in parts[:place]])}: "
    return "the alarms are spread over many log keys: "


def _named(keys: list[int]) -> str:
    """Count log keys and ends of sessions in words.

    Examples
    --------
    >>> _named([7]), _named([7, 8]), _named([7, -1]), _named([-1])
    ('1 log key', '2 log keys', '1 log key and ends of sessions', 'ends of sessions')
    """
    count = sum(key != NO_KEY for key in keys)
    words = [f"{count} log key{'s' * (count > 1)}"] if count else []
    return " and ".join([*words, *["ends of sessions"] * (NO_KEY in keys)])


def _percent(share: float) -> str:
    """A share for a person.

    Examples
    --------
    >>> _percent(0.0), _percent(0.0000001), _percent(0.00123), _percent(0.024), _percent(0.999), _percent(1.3)
    ('0 %', 'less than 0.01 %', '0.12 %', '2.4 %', '99.9 %', '130 %')
    """
    percent = 100 * share
    if 0 < percent < 0.01:
        return "less than 0.01 %"
    return f"{percent:.2g} %" if percent < 10 else f"{round(percent, 1):g} %"


def _times(ratio: float) -> str:
    """A multiple for a person.

    Examples
    --------
    >>> _times(4.26), _times(40.2), _times(12345.6)
    ('4.3 times', '40 times', '12,346 times')
    """
    return f"{ratio:.1f} times" if ratio < 10 else f"{ratio:,.0f} times"


def _utc(time_ns: int) -> str:
    """A time for a person, with its day: a drift may be days old.

    Examples
    --------
    >>> _utc(1_700_000_000 * 10**9)
    '2023-11-14 22:13:20 UTC'
    """
    return f"{datetime.fromtimestamp(time_ns // NS_PER_S, UTC):%Y-%m-%d %H:%M:%S} UTC"
