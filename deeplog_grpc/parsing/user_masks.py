"""The users' own kinds of values, by patterns whose time is linear in the line (RE2)."""

from collections.abc import Mapping, Sequence

import re2

from deeplog_grpc.parsing.skeletons import valid_text


class UserMasks:
    r"""Named patterns; whatever one matches is a value.

    Raises
    ------
    ValueError
        If a pattern is not of RE2's syntax or matches the empty text; it names the mask.

    Examples
    --------
    >>> masks = UserMasks({"order": "ORD:[A-Z]+", "shelf": r"\b[a-z]+/[a-z]+\b"})
    >>> masks.hide(["packed ORD:KX from left/top"])
    ['packed 0 from 0']
    >>> masks.name_of("ORD:KX"), masks.name_of("left/top"), masks.name_of("KX")
    ('order', 'shelf', None)
    >>> UserMasks({"order": "ORD("})
    Traceback (most recent call last):
    ValueError: masks['order']: not a regular expression (RE2 syntax): 'ORD(': missing ): ORD(
    """

    def __init__(self, patterns: Mapping[str, str]) -> None:
        options = re2.Options()
        options.log_errors = False
        self._masks = []
        for name, pattern in patterns.items():
            try:
                compiled = re2.compile(pattern, options=options)
            except (re2.error, UnicodeEncodeError) as error:
                reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
                raise ValueError(
                    f"masks[{name!r}]: not a regular expression (RE2 syntax): {pattern!r}: {reason}"
                ) from error
            if compiled.search("") is not None:
                raise ValueError(f"masks[{name!r}]: matches the empty text, so it would match everywhere: {pattern!r}")
            self._masks.append((name, compiled))

    def hide(self, lines: Sequence[str]) -> list[str]:
        """Put ``0`` in place of each match; the fold then makes it one word, and later steps a variable."""
        hidden = [valid_text(line) for line in lines]
        for _, mask in self._masks:
            hidden = [mask.sub("0", line) for line in hidden]
        return hidden

    def name_of(self, value: str) -> str | None:
        """Give the name of the first mask that a value is a match of."""
        text = valid_text(value)
        return next((name for name, mask in self._masks if mask.fullmatch(text)), None)
