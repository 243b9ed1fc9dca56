"""Keeps a stream that does not fall into kinds (random text, binary) from filling the parser with templates.

Lines are counted off in windows. After a window in which more than half of the lines said something never seen, a new
kind of line must show itself twice to get a template; until then its lines are of the catch-all key. Kinds of lines
repeat, noise does not: so an application that starts to log loses a few lines, noise finds nothing, and both need no
setting. After a window with less than a quarter of such lines the limiter rests again.
"""

from collections.abc import Iterable

WINDOW_LINES = 1024
"""Real logs found a template with at most 20 % of the lines of a cold window this long; shorter ones vary more."""

_STARTS_ABOVE, _STOPS_BELOW = WINDOW_LINES // 2, WINDOW_LINES // 4

_MAX_WAITING = 50_000
"""Forms seen once, about 10 MB; when they are that many all start anew."""


class Limiter:
    """Decides whether a new kind of line may found a template.

    Examples
    --------
    >>> limiter = Limiter()
    >>> all(limiter.admits(f"noise {n}") for n in range(WINDOW_LINES))
    True
    >>> limiter.end_window()
    >>> limiter.is_on, limiter.admits("x"), limiter.admits("y"), limiter.admits("x")
    (True, False, False, True)
    >>> limiter.end_window()
    >>> limiter.is_on
    False
    """

    def __init__(self, *, is_on: bool = False, news: int = 0, waiting: Iterable[str] = ()) -> None:
        self.is_on = is_on
        self.news = news
        """Lines of this window that said something never seen."""
        self.waiting = dict.fromkeys(waiting)
        """Forms seen once since the limiter is on, in that order."""

    def admits(self, form: str) -> bool:
        """Count a line of a kind never seen, and tell whether it may found a template."""
        self.news += 1
        if not self.is_on:
            return True
        if form in self.waiting:
            del self.waiting[form]
            return True
        if len(self.waiting) >= _MAX_WAITING:
            self.waiting.clear()
        self.waiting[form] = None
        return False

    def end_window(self) -> None:
        """Start the next window."""
        if self.news > _STARTS_ABOVE:
            self.is_on = True
        elif self.news < _STOPS_BELOW:
            self.is_on = False
            self.waiting.clear()
        self.news = 0
