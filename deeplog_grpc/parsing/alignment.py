"""The longest common subsequence of a template and a line, and where the two differ.

A constant word weighs more than all separators together, so words lead the alignment and separators follow it; a
variable never counts. The table is computed only over what is left between common heads and tails, and never over more
than `MAX_CELLS` cells: two token lists that differ over a longer stretch are not one message.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from deeplog_grpc.parsing.words import VARIABLE, is_unit, is_word

MAX_CELLS = 4096
"""Cells of one table, about 1 ms: 64 differing tokens on each side."""

_WORD_WEIGHT, _SEPARATOR_WEIGHT, _VARIABLE_WEIGHT, _BLANK_WEIGHT = 1000, 5, 3, 1


@dataclass(frozen=True, slots=True)
class Stretch:
    """A place where two token lists differ: ``left[i0:i1]`` stands against ``right[j0:j1]``."""

    i0: int
    i1: int
    j0: int
    j1: int


def _weight(token: str) -> int:
    if token == VARIABLE:
        return _VARIABLE_WEIGHT
    if token.isspace():
        return _BLANK_WEIGHT
    return _WORD_WEIGHT if is_word(token) else _SEPARATOR_WEIGHT


def align(left: Sequence[str], right: Sequence[str]) -> list[Stretch] | None:
    """Find where two token lists differ.

    Parameters
    ----------
    left, right : sequence of str
        Tokens.

    Returns
    -------
    list of Stretch, or None
        In order, empty when the lists are equal; None when the differing part is too long to be compared.

    Examples
    --------
    >>> align(("wait", " ", "for", " ", "disk"), ("wait", " ", "for", " ", "net", " ", "disk"))
    [Stretch(i0=3, i1=3, j0=3, j1=5)]
    """
    pairs = _pairs(left, right)
    if pairs is None:
        return None
    stretches = _stretches(pairs, len(left), len(right))
    return [_led_by_blank(left, right, stretch) for stretch in stretches]


def _pairs(left: Sequence[str], right: Sequence[str]) -> list[tuple[int, int]] | None:
    """Give the places of equal tokens on a heaviest common subsequence; None when finding them costs too much.

    Common heads and tails pair, and tokens that the other side lacks drop out; that by turns leaves little or nothing
    for the table.
    """
    heads: list[tuple[int, int]] = []
    tails: list[tuple[int, int]] = []
    a, b = list(range(len(left))), list(range(len(right)))
    while True:
        head = tail = 0
        shorter = min(len(a), len(b))
        while head < shorter and left[a[head]] == right[b[head]]:
            head += 1
        while tail < shorter - head and left[a[-1 - tail]] == right[b[-1 - tail]]:
            tail += 1
        heads += zip(a[:head], b[:head], strict=True)
        tails += zip(a[len(a) - tail :][::-1], b[len(b) - tail :][::-1], strict=True)
        a, b = a[head : len(a) - tail], b[head : len(b) - tail]
        in_left, in_right = {left[i] for i in a}, {right[j] for j in b}
        shared_a, shared_b = [i for i in a if left[i] in in_right], [j for j in b if right[j] in in_left]
        if len(shared_a) == len(a) and len(shared_b) == len(b):
            break
        a, b = shared_a, shared_b
    if len(a) * len(b) > MAX_CELLS:
        return None
    traced = _traced([left[i] for i in a], [right[j] for j in b])
    return [*heads, *((a[i], b[j]) for i, j in traced), *reversed(tails)]


def _traced(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int]]:
    """Find the pairs by back-tracking through the table of the weights of all beginnings."""
    weights = [_weight(token) for token in a]
    table = [[0] * (len(b) + 1)]
    for i, token in enumerate(a):
        above, row = table[-1], [0]
        for j, other in enumerate(b):
            best = above[j + 1] if above[j + 1] >= row[j] else row[j]
            if token == other and above[j] + weights[i] > best:
                best = above[j] + weights[i]
            row.append(best)
        table.append(row)
    pairs = []
    i, j = len(a), len(b)
    while i and j:
        if table[i][j] == table[i - 1][j]:
            i -= 1
        elif table[i][j] == table[i][j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def _led_by_blank(left: Sequence[str], right: Sequence[str], stretch: Stretch) -> Stretch:
    """Of two equal ways to read an insertion take "sent[ twice] to", not "sent [twice ]to"."""
    i0, i1, j0, j1 = stretch.i0, stretch.i1, stretch.j0, stretch.j1
    inserted = left[i0:i1] or right[j0:j1]
    if (i0 < i1 and j0 < j1) or not i0 or not j0 or not left[i0 - 1].isspace() or left[i0 - 1] != inserted[-1]:
        return stretch
    return Stretch(i0 - 1, i1 - 1, j0 - 1, j1 - 1)


def _stretches(pairs: list[tuple[int, int]], a_size: int, b_size: int) -> list[Stretch]:
    stretches = []
    i0 = j0 = 0
    for i, j in [*pairs, (a_size, b_size)]:
        if i > i0 or j > j0:
            stretches.append(Stretch(i0, i, j0, j))
        i0, j0 = i + 1, j + 1
    return stretches


def generalise(tokens: Sequence[str], stretches: Sequence[Stretch], swallow: Sequence[bool]) -> tuple[str, ...]:
    """Replace each stretch of a template by one variable.

    Parameters
    ----------
    tokens : sequence of str
        The template's tokens, the left side of the alignment.
    stretches : sequence of Stretch
        Where a line differs from them.
    swallow : sequence of bool
        For each stretch: take in the variables beside it, with the units, commas and blanks between. A value whose
        extent changes ("0 bytes", "1165 bytes (1.13 KB)") then stays one value.

    Returns
    -------
    tuple of str
        The tokens of the more general template; it covers the old template's lines and the new line.

    Examples
    --------
    >>> sizes = (VARIABLE, " ", "bytes", " ", "sent")
    >>> generalise(sizes, [Stretch(3, 3, 3, 9)], [True]) == (VARIABLE, " ", "sent")
    True
    """
    result: list[str] = []
    position = 0
    for stretch, wide in zip(stretches, swallow, strict=True):
        start, end = _widen(tokens, stretch) if wide else (stretch.i0, stretch.i1)
        result.extend(tokens[position:start])
        if not result or result[-1] != VARIABLE:
            result.append(VARIABLE)
        position = max(position, end)
    for token in tokens[position:]:
        if token != VARIABLE or result[-1] != VARIABLE:
            result.append(token)
    return tuple(result)


def _widen(tokens: Sequence[str], stretch: Stretch) -> tuple[int, int]:
    """Extend a stretch over the values beside it, as far as only blanks, commas and units stand between."""
    start = probe = stretch.i0
    while probe > 0 and _belongs_to_value(tokens, probe - 1):
        probe -= 1
        if tokens[probe] == VARIABLE:
            start = probe
    end = probe = stretch.i1
    while probe < len(tokens) and _belongs_to_value(tokens, probe):
        probe += 1
        if tokens[probe - 1] != "," and not tokens[probe - 1].isspace():
            end = probe
    return start, end


def _belongs_to_value(tokens: Sequence[str], index: int) -> bool:
    return tokens[index] in (VARIABLE, ",") or tokens[index].isspace() or is_unit(tokens, index)
