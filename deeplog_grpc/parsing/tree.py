"""The prefix tree over templates: the first and cheapest of Spell's three look-ups.

It answers which template covers a line as it is. A variable of the template takes in a value (variables, units, and
the separators that come and go with them) or one name without blanks; constants must agree. Constants are preferred
to variables, so the most exact template wins. Unlike the usual greedy walk this one backs up, but never tries a place
twice: the cost is bounded by nodes visited, `MAX_STEPS` at most, whatever the number of templates.
"""

from collections.abc import Sequence

from deeplog_grpc.parsing.words import FREE_SEPARATORS, VARIABLE, is_code, is_name_like, is_unit, is_word

MAX_STEPS = 2000
"""Nodes visited for one line, about 1 ms; a line that needs more is left to the next look-up."""

_MAX_TAKEN = 48
"""Tokens that one variable takes in at most; longer lists generalise through the alignment or found a new key."""

_VALUE, _VALUES, _NAME = 0, 1, 2
"""What fell on a variable: one variable, several values, a name; also the constant words a template needs for it."""

_OPENING = frozenset(["(", "[", "{", "<", "=", "'", '"'])
_CLOSING = frozenset([")", "]", "}", ">", "'", '"'])


class _Node:
    __slots__ = ("children", "key")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.key: int | None = None


class PrefixTree:
    """Templates by their tokens.

    Examples
    --------
    >>> tree = PrefixTree()
    >>> tree.add(("wait", " ", "for", " ", VARIABLE), 7)
    >>> tree.find(("wait", " ", "for", " ", VARIABLE, ",", VARIABLE)), tree.find(("wait", " ", "for", " ", "disk"))
    (7, 7)
    >>> tree.find(("wait", " ", "for", " ", "nothing", " ", "else")) is None
    True
    """

    def __init__(self) -> None:
        self._root = _Node()

    def add(self, tokens: Sequence[str], key: int) -> None:
        """Add a template; one with the same tokens keeps its key."""
        node = self._root
        for token in tokens:
            child = node.children.get(token)
            if child is None:
                child = node.children[token] = _Node()
            node = child
        if node.key is None:
            node.key = key

    def get(self, tokens: Sequence[str]) -> int | None:
        """Give the key of the template with exactly these tokens."""
        node: _Node | None = self._root
        for token in tokens:
            node = node.children.get(token) if node else None
        return node.key if node else None

    def remove(self, tokens: Sequence[str], key: int) -> None:
        """Remove a template, and the branches that led to it alone."""
        path = [self._root]
        for token in tokens:
            path.append(path[-1].children[token])
        if path[-1].key != key:
            return
        path[-1].key = None
        for parent, node, token in zip(path[-2::-1], path[:0:-1], tokens[::-1], strict=True):
            if node.children or node.key is not None:
                break
            del parent.children[token]

    def find(self, line: Sequence[str]) -> int | None:
        """Find the template that covers a line.

        Parameters
        ----------
        line : sequence of str
            Tokens.

        Returns
        -------
        int or None
            Its key.
        """
        # A state is a place in tree and line, the loosest thing taken in so far, and the constant words so far.
        stack = [(self._root, 0, _VALUE, 0)]
        seen: set[tuple[int, int, int, int]] = set()
        takes: dict[int, list[tuple[int, int]]] = {}
        size = len(line)
        for _ in range(MAX_STEPS):
            if not stack:
                return None
            node, at, loosest, anchors = stack.pop()
            if at == size and node.key is not None and anchors >= loosest:
                return node.key
            variable = node.children.get(VARIABLE)
            if variable is not None:
                if at not in takes:
                    takes[at] = _takes(line, at)
                for end, looseness in takes[at]:
                    # Two variables never touch, so what stands behind one is a constant.
                    if (line[end] not in variable.children) if end < size else (variable.key is None):
                        continue
                    loose = looseness if looseness > loosest else loosest
                    state = (id(variable), end, loose, anchors)
                    if state not in seen:
                        seen.add(state)
                        stack.append((variable, end, loose, anchors))
            if at < size and line[at] != VARIABLE and (child := node.children.get(line[at])) is not None:
                stack.append((child, at + 1, loosest, anchors if anchors == _NAME else anchors + is_word(line[at])))
        return None


def _takes(line: Sequence[str], start: int) -> list[tuple[int, int]]:
    """List the ends of what one variable may take in from ``start``, longest first, each with how loose that is.

    Nothing at all can be a value too: "user=" or "()".
    """
    ends = [(start, _VALUES)] if start and line[start - 1] in _OPENING else []
    named = blank = False
    for at in range(start, min(len(line), start + _MAX_TAKEN)):
        token = line[at]
        if token.isspace():
            blank = True
            continue
        if token == VARIABLE or is_unit(line, at):
            pass
        elif is_word(token):
            named = True
            if not is_name_like(token) or is_code(token):
                break
        elif token not in FREE_SEPARATORS:
            if blank or at == start:
                break
            continue
        elif token not in _CLOSING:
            continue
        if named and blank:
            break
        ends.append((at + 1, _NAME if named else _VALUE if at == start and token == VARIABLE else _VALUES))
    return ends[::-1]
