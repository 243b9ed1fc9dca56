"""Keeps a stream that does not fall into kinds (random text, binary) from filling the parser with templates.

Half of the room for templates is for any stream. The other half is guarded: lines are counted off in windows, and after
one in which more than half of the lines founded a template, a new kind of line must show itself twice to get one; until
then its lines are of the catch-all key. Kinds of lines repeat, noise does not: so an application that starts to log
loses a few lines, noise finds nothing, and both need no setting. After a window with less than a quarter of such lines
the limiter rests again.
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
    >>> limiter.news = WINDOW_LINES
    >>> limiter.end_window()
    >>> limiter.is_on, limiter.admits("x"), limiter.admits("y"), limiter.admits("x")
    (True, False, False, True)
    >>> limiter.end_window()
    >>> limiter.is_on, limiter.admits("z")
    (False, True)
    """

    def __init__(self, *, is_on: bool = False, news: int = 0, waiting: Iterable[str] = ()) -> None:
        self.is_on = is_on
        self.news = news
        """Lines of this window that founded a template, or would have."""
        self.waiting = dict.fromkeys(waiting)
        """Forms seen once since the limiter is on, in that order."""

    def admits(self, form: str) -> bool:
        """Tell whether a line of a kind never seen may found a template."""
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
