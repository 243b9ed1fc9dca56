"""The columnar parser: log lines in, log keys and parameter values out.

How a batch goes through: the lines are folded to skeletons (`skeletons.fold`), a skeleton seen before gives its key by
one look-up in a cache, and only a new one is tokenized to its *form* (variables masked). A form's key is remembered
for good; a form never seen goes to `spell.Spell`, which learns from it.

Invariants: a line's key depends on the lines before it alone, never on how they were batched or on what was cached,
for the cache only repeats what the remembered forms say. The same form keeps its key, whatever is learned later; only
a merge replaces a key, by an alias that `Parser.resolve` follows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.parsing.config import ParserConfig
from deeplog_grpc.parsing.skeletons import fold
from deeplog_grpc.parsing.spell import Assignment, Spell
from deeplog_grpc.parsing.state import dump, load
from deeplog_grpc.parsing.templates import Template, match_pieces, pieces_of
from deeplog_grpc.parsing.words import VARIABLE, tokenize

_CATCH_ALL = (VARIABLE,)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    """The templates at one moment; shared by all batches until one of them changes."""

    pieces: dict[int, tuple[str, ...]]
    aliases: dict[int, int]

    def pieces_of(self, key: int) -> tuple[str, ...]:
        while key in self.aliases:
            key = self.aliases[key]
        return self.pieces[key]


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """The keys of a batch of lines, and on request their parameters."""

    keys: NDArray[np.int32]
    """Log keys [n], in the order of the lines."""
    is_new: NDArray[np.bool_]
    """[n], True where this very line founded its key."""
    _bodies: Sequence[str]
    _heads: Sequence[str]
    _snapshot: _Snapshot

    def parameters(self, index: int) -> tuple[str, ...]:
        """Read the parameters of one line.

        Parameters
        ----------
        index : int
            The line's position in the batch.

        Returns
        -------
        tuple of str
            The exact text at each slot of the line's template, as the template was when the batch had been parsed.
            If the line was longer than the parser looks at (further rows, or more than ``max_line_chars``), that
            rest is one more, last value. So ``template.fill(values[: template.slots])`` followed by that rest is
            the line, to the letter.

        Raises
        ------
        IndexError
            If there is no such line.
        """
        head, body = self._heads[index], self._bodies[index]
        values = match_pieces(self._snapshot.pieces_of(int(self.keys[index])), head)
        if values is None:
            raise AssertionError(f"line {index} is not of its template: a template covers all lines of its key")
        return values if len(head) == len(body) else (*values, body[len(head) :])


class Parser:
    """Learns templates from log lines and gives each line its key.

    Parameters
    ----------
    config : ParserConfig
        Limits and thresholds.

    Examples
    --------
    >>> parser = Parser()
    >>> batch = parser.parse(["Deleting block blk_1 file /data/1", "Deleting block blk_2 file /data/2", "shutdown"])
    >>> batch.keys.tolist(), batch.is_new.tolist()
    ([0, 0, 1], [True, False, True])
    >>> parser.template(0).text, batch.parameters(1)
    ('Deleting block <*> file <*>', ('blk_2', '/data/2'))
    >>> [(t.key, t.text, t.count) for t in parser.templates()]
    [(0, 'Deleting block <*> file <*>', 2), (1, 'shutdown', 1)]
    """

    def __init__(self, config: ParserConfig = ParserConfig()) -> None:  # noqa: B008 (frozen: one value for all)
        self._config = config
        self._spell = Spell(config)
        self._forms: dict[str, int] = {}
        self._cache: dict[str, int] = {}
        self._snapshot = _Snapshot({}, {})
        self._changed: set[int] = set()

    @property
    def config(self) -> ParserConfig:
        """The settings."""
        return self._config

    def __len__(self) -> int:
        """Number of keys given so far."""
        return len(self._spell.table)

    def parse(self, bodies: Sequence[str]) -> ParsedBatch:
        """Give each line its key, and learn from the lines of a new kind.

        Parameters
        ----------
        bodies : sequence of str [n]
            The message parts of the lines, without time stamp. Any text is accepted, of any length. Of a body of
            several rows the first one decides.

        Returns
        -------
        ParsedBatch
            Keys and parameters [n].
        """
        heads = self._heads(bodies)
        skeletons = fold(heads)
        keys: list[int] = list(map(self._cache.get, skeletons, [-1] * len(skeletons)))
        is_new = np.zeros(len(keys), np.bool_)
        position, merged = 0, False
        while True:
            try:
                position = keys.index(-1, position)
            except ValueError:
                break
            assignment = self._assign(skeletons[position])
            keys[position], is_new[position] = assignment.key, assignment.is_new
            position += 1
            if assignment.is_merge:
                merged = True
                keys[position:] = [self._cache.get(skeleton, -1) for skeleton in skeletons[position:]]
        counts = self._spell.table.counts
        for key in map(self.resolve, keys) if merged else keys:
            counts[key] += 1
        self._take_snapshot()
        return ParsedBatch(np.array(keys, np.int32), is_new, bodies, heads, self._snapshot)

    def template(self, key: int) -> Template:
        """Give a template as it is now; for an alias, the template it was merged into.

        Raises
        ------
        KeyError
            If the key was never given.
        """
        if not 0 <= key < len(self):
            raise KeyError(f"log key {key} was never given: there are {len(self)} keys")
        return self._template(self.resolve(key))

    def templates(self) -> list[Template]:
        """Give all templates by key, without aliases."""
        keys = set(self._spell.table.messages)
        if self._spell.catch_all is not None:
            keys.add(self._spell.catch_all)
        return [self._template(key) for key in sorted(keys)]

    def resolve(self, key: int) -> int:
        """Give the key that stands for a key now: another one if its template was merged, else itself.

        Examples
        --------
        >>> parser = Parser()
        >>> names = ("alpha_one", "beta_two", "gamma_three")
        >>> parser.parse([f"loaded the file {name}" for name in names]).keys.tolist()
        [0, 1, 0]
        >>> [parser.resolve(key) for key in range(len(parser))], parser.template(0).text
        ([0, 0], 'loaded the file <*>')
        """
        return self._spell.table.resolve(key)

    def seal(self) -> None:
        """End the training: from now on the present templates take in a new kind of line only if it is much alike.

        Sealed templates generalise by ``sealed_tau`` and never merge; templates founded later behave as usual.
        """
        self._spell.table.seal()

    def state(self) -> dict[str, Any]:
        """Give all that has been learned, as JSON values; `from_state` goes on from there as if nothing happened."""
        return dump(self._config, self._spell, self._forms)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> "Parser":
        """Build a parser from a state.

        Raises
        ------
        ValueError
            If the state is malformed, with the field and the reason.

        Examples
        --------
        >>> parser = Parser()
        >>> _ = parser.parse(["user 7 logged in", "user 8 logged in", "bye"])
        >>> Parser.from_state(parser.state()).parse(["bye", "user 9 logged in"]).keys.tolist()
        [1, 0]
        """
        parser = cls()
        parser._config, parser._spell, parser._forms = load(state)
        parser._changed.update(range(len(parser)))
        parser._take_snapshot()
        return parser

    def _heads(self, bodies: Sequence[str]) -> Sequence[str]:
        limit = self._config.max_line_chars
        if max(map(len, bodies), default=0) > limit or any("\n" in body for body in bodies):
            return [body[:limit].partition("\n")[0] for body in bodies]
        return bodies

    def _assign(self, skeleton: str) -> Assignment:
        known = self._cache.get(skeleton)
        if known is not None:
            return Assignment(known)
        tokens = tokenize(skeleton, self._config.max_tokens)
        form = "".join(tokens)
        key = self._forms.get(form)
        assignment = Assignment(key) if key is not None else self._learn(form, tokens)
        if self._config.cache_entries:
            if len(self._cache) >= self._config.cache_entries:
                self._cache.clear()
            self._cache[skeleton] = assignment.key
        return assignment

    def _learn(self, form: str, tokens: tuple[str, ...]) -> Assignment:
        assignment = self._spell.assign(tokens)
        self._changed.add(assignment.key)
        if assignment.is_merge:
            for known in (self._forms, self._cache):
                known.update({text: self.resolve(key) for text, key in known.items()})
        if len(self._forms) >= self._config.max_forms:
            # The cache repeats the forms, so it goes with them.
            self._forms.clear()
            self._cache.clear()
        self._forms[form] = assignment.key
        return assignment

    def _take_snapshot(self) -> None:
        if not self._changed:
            return
        pieces = self._snapshot.pieces.copy()
        for key in map(self.resolve, self._changed):
            pieces[key] = pieces_of(
                _CATCH_ALL if key == self._spell.catch_all else self._spell.table.messages[key].tokens
            )
        self._snapshot = _Snapshot(pieces, self._spell.table.aliases.copy())
        self._changed.clear()

    def _template(self, key: int) -> Template:
        key = self.resolve(key)
        return Template(key=key, pieces=self._snapshot.pieces[key], count=self._spell.table.counts[key])
