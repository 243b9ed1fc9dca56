"""How often something may be tried or sent. Nothing here waits, or reads a clock."""

import random

_MAX_ASKED_S = 3_600.0


class TokenBucket:
    """So many a second on average, and no more than a burst at once.

    Parameters
    ----------
    per_s : float
        Tokens that come each second.
    burst : float
        Tokens that may be saved up; full at the begin.

    Examples
    --------
    >>> bucket = TokenBucket(per_s=2, burst=2)
    >>> bucket.take(2, now=0.0), bucket.available(now=0.25), bucket.wait_s(1, now=0.25)
    (None, 0.5, 0.25)
    """

    def __init__(self, *, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._tokens = burst
        self._at: float | None = None

    def available(self, now: float) -> float:
        """Tokens at a time, in seconds of any clock that does not go back; less than 0 = taken ahead."""
        if self._at is None:
            self._at = now
        self._tokens = min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_s)
        self._at = max(self._at, now)
        return self._tokens

    def take(self, count: float, *, now: float) -> None:
        """Take tokens, also such as are still to come."""
        self._tokens = self.available(now) - count

    def wait_s(self, count: float, *, now: float) -> float:
        """Seconds until so many are there; of more than a burst, until the bucket is full."""
        return max(0.0, (min(count, self._burst) - self.available(now)) / self._per_s)


class Backoff:
    """Seconds before the next try: doubled each time, of which up to a half is left out at random.

    Parameters
    ----------
    min_s, max_s : float
        Before the second try, and at most.
    chance : random.Random, optional

    Examples
    --------
    >>> backoff = Backoff(1.0, 60.0, chance=random.Random(1))
    >>> [1 / 2 <= backoff.next_s() <= 1, 1 <= backoff.next_s() <= 2, backoff.next_s(retry_after_s=100.0) >= 100]
    [True, True, True]
    """

    def __init__(self, min_s: float, max_s: float, *, chance: random.Random | None = None) -> None:
        self._min_s = min_s
        self._max_s = max(min_s, max_s)
        self._chance = chance or random.Random()  # noqa: S311 (spreads tries in time; nothing is secret about it)
        self.failures = 0
        """In a row."""

    def next_s(self, retry_after_s: float = 0.0) -> float:
        """A try failed: how long to wait. Not less than the other side asked for, unless that is beyond an hour."""
        usual_s = min(self._max_s, self._min_s * 2.0 ** min(self.failures, 60))
        self.failures += 1
        return max(min(retry_after_s, _MAX_ASKED_S), usual_s * self._chance.uniform(0.5, 1.0))

    def reset(self) -> None:
        """A try succeeded."""
        self.failures = 0
