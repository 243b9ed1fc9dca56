"""The columnar parser: log lines in, log keys and parameter values out.

How a batch goes through: the lines are folded to skeletons (`skeletons.fold`), a skeleton seen before gives its key by
one look-up in a cache, and only a new one is tokenized to its *form* (variables masked). A form's key is remembered
for good; a form never seen goes to `spell.Spell`, which learns from it.

Invariants: a line's key depends on the lines before it alone, never on how they were batched or on what was cached,
for the cache only repeats what the remembered forms say. The same form keeps its key, whatever is learned later; only
a merge replaces a key, by an alias that `Parser.resolve` follows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from deeplog_grpc.parsing.batch import ParsedBatch, Snapshot
from deeplog_grpc.parsing.config import ParserConfig
from deeplog_grpc.parsing.skeletons import fold
from deeplog_grpc.parsing.spell import Assignment, Spell
from deeplog_grpc.parsing.state import dump, load
from deeplog_grpc.parsing.templates import Template, pieces_of
from deeplog_grpc.parsing.words import VARIABLE, tokenize

_CATCH_ALL = (VARIABLE,)


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
        self._snapshot = Snapshot({}, {})
        self._noted: dict[int, tuple[str, ...]] = {}
        """Tokens of the templates, as they were last taken down."""
        self._pieces: dict[int, tuple[str, ...]] = {}
        self._has_learned = False
        """Since the snapshot."""

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
        is_new, is_changed = np.zeros(len(keys), np.bool_), np.zeros(len(keys), np.bool_)
        position, merged = 0, False
        while True:
            try:
                position = keys.index(-1, position)
            except ValueError:
                break
            assignment = self._assign(skeletons[position])
            keys[position], is_new[position] = assignment.key, assignment.is_new
            is_changed[position] = self._note(assignment.key)
            position += 1
            if assignment.is_merge:
                merged = True
                keys[position:] = [self._cache.get(skeleton, -1) for skeleton in skeletons[position:]]
        counts = self._spell.table.counts
        for key in map(self.resolve, keys) if merged else keys:
            counts[key] += 1
        self._take_snapshot()
        return ParsedBatch(np.array(keys, np.int32), is_new, is_changed, bodies, heads, self._snapshot)

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
        keys = set(self._spell.table.tokens)
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
        for key in range(len(parser)):
            parser._note(parser.resolve(key))
        parser._has_learned = True
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
        self._has_learned = True
        if assignment.is_merge:
            for known in (self._forms, self._cache):
                known.update({text: self.resolve(key) for text, key in known.items()})
        if len(self._forms) >= self._config.max_forms:
            # The cache repeats the forms, so it goes with them.
            self._forms.clear()
            self._cache.clear()
        self._forms[form] = assignment.key
        return assignment

    def _note(self, key: int) -> bool:
        """Take down a key's template as it is now; tell whether it was another one before."""
        tokens = _CATCH_ALL if key == self._spell.catch_all else self._spell.table.tokens[key]
        known = self._noted.get(key)
        if known == tokens:
            return False
        self._noted[key], self._pieces[key] = tokens, pieces_of(tokens)
        return known is not None

    def _take_snapshot(self) -> None:
        if self._has_learned:
            self._snapshot = Snapshot(self._pieces.copy(), self._spell.table.aliases.copy())
            self._has_learned = False

    def _template(self, key: int) -> Template:
        key = self.resolve(key)
        table = self._spell.table
        pieces, count = self._snapshot.pieces[key], table.counts[key]
        return Template(key=key, pieces=pieces, count=count, is_sealed=key < table.sealed)
