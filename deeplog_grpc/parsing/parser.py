"""The columnar parser: log lines in, log keys and parameter values out.

How a batch goes through: the lines become outlines (`skeletons.outlines_of`), and an outline seen before gives its form
by one look-up. New outlines are folded to skeletons (`skeletons.fold`), looked up in turn, and only a new skeleton is
tokenized to its *form* (variables masked). A form's key is remembered for good; a form never seen goes to
`spell.Spell`, which learns from it.

Invariants: a line's key depends on the lines before it alone, never on how they were batched or on what was cached,
for the cache only repeats what the remembered forms say, and what is decided now and then (limiter, splits) is decided
after a fixed number of lines. The same form keeps its key, whatever is learned later; only a merge replaces a key, by
an alias that `Parser.resolve` follows, and a split gives some forms of a key another one.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.parsing.batch import ParsedBatch, Snapshot
from deeplog_grpc.parsing.bodies import heads_of
from deeplog_grpc.parsing.config import ParserConfig
from deeplog_grpc.parsing.events import NO_ROW, EventKind, TemplateEvent
from deeplog_grpc.parsing.forms import UNKNOWN, Forms
from deeplog_grpc.parsing.limiter import WINDOW_LINES, Limiter
from deeplog_grpc.parsing.skeletons import fold, outlines_of, undated
from deeplog_grpc.parsing.spell import Spell
from deeplog_grpc.parsing.splitting import split_constants
from deeplog_grpc.parsing.state import Learned, dump, load
from deeplog_grpc.parsing.templates import WILDCARD, Template, pieces_of
from deeplog_grpc.parsing.user_masks import UserMasks
from deeplog_grpc.parsing.words import VARIABLE, tokenize

_CATCH_ALL = (VARIABLE,)

_REVIEW_LINES = 16 * WINDOW_LINES
"""Lines between two searches for constants that were taken for a parameter."""

_MOST_OUTLINES = 512
"""Outlines of one form that are remembered: one with more has hexadecimal ids or the like, whose outlines do not repeat
and would fill the cache."""


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
        self._adopt(Learned(config, Spell(config), Forms(), Limiter(), 0, {}))
        self._seed(config.seed_templates)

    def _adopt(self, learned: Learned) -> None:
        self._learned = learned
        self._spell, self._limiter = learned.spell, learned.limiter
        self._masks = UserMasks(learned.config.masks) if learned.config.masks else None
        self._cache: dict[str, int] = {}
        self._outlines: dict[bytes, int] = {}
        self._outlines_of: dict[int, int] = {}
        self._snapshot = Snapshot({}, {})
        self._take_snapshot(range(len(self)))

    def _seed(self, templates: Sequence[str]) -> None:
        outlines = self._outlines_in([template.replace(WILDCARD, "0") for template in templates])
        for number, skeleton in enumerate(fold(outlines)):
            try:
                self._spell.seed(tokenize(skeleton, self.config.max_tokens))
            except ValueError as error:
                raise ValueError(f"seed_templates[{number}]: {templates[number]!r}: {error}") from error
        self.seal()
        self._take_snapshot(range(len(self)))

    @property
    def config(self) -> ParserConfig:
        """The settings."""
        return self._learned.config

    @property
    def limited(self) -> int:
        """Lines that found no room for a template of their own: those of the catch-all key."""
        return 0 if self._spell.catch_all is None else self._spell.table.counts[self._spell.catch_all]

    @property
    def is_limiting(self) -> bool:
        """Whether the recent lines did not fall into kinds, so that new kinds have to show themselves twice."""
        return self._limiter.is_on and self._is_crowded()

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
        heads = heads_of(bodies, self.config.max_line_chars)
        outlines = self._outlines_in(heads.texts)
        keys, is_new = np.empty(len(outlines), np.int32), np.zeros(len(outlines), np.bool_)
        row = 0
        while row < len(outlines):
            window_end = row + WINDOW_LINES - self._learned.lines % WINDOW_LINES
            done = self._parse_some(outlines[row:window_end], row, keys, is_new)
            self._learned.lines += done
            row += done
            if row == window_end:
                self._end_window(row - 1)
        events = tuple(self._spell.events)
        self._spell.events.clear()
        if events:
            self._take_snapshot({event.key for event in events})
        return ParsedBatch(keys, is_new, events, bodies, heads, self._snapshot)

    def forget(self, key: int) -> TemplateEvent:
        """Take a template away: its lines will found a new key. `template` still gives it, as it was last.

        Parameters
        ----------
        key : int
            Its log key, or an alias of it; it may be sealed.

        Raises
        ------
        ValueError
            If there is no such template (any more).

        Examples
        --------
        >>> parser = Parser()
        >>> parser.parse(["user 7 left", "disk full"]).keys.tolist()
        [0, 1]
        >>> parser.forget(0).kind.value
        'forgotten'
        >>> parser.parse(["user 7 left", "disk full"]).keys.tolist(), parser.template(0).text
        ([2, 1], 'user <*> left')
        """
        key = self.resolve(key)
        catch_all = self._spell.catch_all
        self._spell.row = NO_ROW
        self._spell.forget(key)
        # There is room again, so what was contained may be learned too.
        self._replace_forms(Forms(form for form in self._learned.forms if form[1] not in (key, catch_all)))
        self._learned.reviewed.pop(key, None)
        return self._spell.events.pop()

    def mask_name(self, value: str) -> str | None:
        """Give the name of the user's mask that a parameter value is a match of."""
        return None if self._masks is None else self._masks.name_of(value)

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

    def pieces_of(self, body: str) -> tuple[str, ...]:
        """Give the constant pieces that a template founded by one line would have; nothing is learned.

        Unlike `template` it depends on the line alone, not on what came with it.

        Examples
        --------
        >>> Parser().pieces_of("user 7 left room 12b")
        ('user ', ' left room ', '')
        """
        heads = heads_of([body], self.config.max_line_chars)
        (skeleton,) = fold(self._outlines_in(heads.texts))
        return pieces_of(tokenize(undated(skeleton), self.config.max_tokens))

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
        return dump(self._learned)

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
        parser._adopt(load(state))
        return parser

    def _outlines_in(self, heads: Sequence[str]) -> list[bytes]:
        return outlines_of(heads if self._masks is None else self._masks.hide(heads))

    def _parse_some(
        self, part: Sequence[bytes], first_row: int, keys: NDArray[np.int32], is_new: NDArray[np.bool_]
    ) -> int:
        """Give keys to lines, up to the last one or to the first that changes the keys of known forms: how many."""
        numbers = np.fromiter(map(self._outlines.get, part, repeat(UNKNOWN)), np.intp, len(part))
        skeletons = self._look_up_skeletons(part, numbers)
        forms = self._learned.forms
        found = forms.keys(numbers)
        missing = np.flatnonzero(found < 0)
        done, self._keys_moved = len(part), False
        fresh: dict[bytes, tuple[int, int]] = {}
        answers = []
        for index in missing.tolist():
            outline = part[index]
            answer = fresh.get(outline)
            if answer is None:
                self._spell.row = first_row + index
                number, key, is_new[self._spell.row] = self._form_of(skeletons[outline])
                answer = number, key
                if number != UNKNOWN:
                    fresh[outline] = answer
                    self._remember_outline(number, outline)
            answers.append(answer)
            if self._keys_moved:
                done = index + 1
                break
        if answers:
            numbers[missing[: len(answers)]], found[missing[: len(answers)]] = np.array(answers).T
        if forms is not self._learned.forms:
            numbers[: done - 1] = UNKNOWN  # Those forms are forgotten.
        keys[first_row : first_row + done] = found[:done]
        self._learned.forms.count(numbers[:done])
        self._spell.table.count(found[:done])
        return done

    def _look_up_skeletons(self, part: Sequence[bytes], numbers: NDArray[np.intp]) -> dict[bytes, str]:
        """Look the lines of new outlines up by their skeletons, which are given; completes the numbers [n]."""
        rows = np.flatnonzero(numbers == UNKNOWN)
        outlines = [part[row] for row in rows.tolist()]
        distinct = list(dict.fromkeys(outlines))
        skeletons = dict(zip(distinct, fold(distinct), strict=True))
        known = {outline: self._cache.get(skeleton, UNKNOWN) for outline, skeleton in skeletons.items()}
        numbers[rows] = [known[outline] for outline in outlines]
        for outline, number in known.items():
            if number != UNKNOWN:
                self._remember_outline(number, outline)
        return skeletons

    def _form_of(self, skeleton: str) -> tuple[int, int, bool]:
        """Find or learn the form of a skeleton: its number, its key, whether the key is new."""
        number, is_new = self._cache.get(skeleton, UNKNOWN), False
        if number == UNKNOWN:
            plain = undated(skeleton)
            number = self._cache.get(plain, UNKNOWN)
            if number == UNKNOWN:
                tokens = tokenize(plain, self.config.max_tokens)
                form = "".join(tokens)
                number = self._learned.forms.find(form)
                if number == UNKNOWN:
                    key, is_new, is_kept = self._learn(form, tokens)
                    if not is_kept:
                        return UNKNOWN, key, is_new
                    number = self._add_form(form, key)
            self._remember(number, skeleton, plain)
        return number, self._learned.forms.key(number), is_new

    def _learn(self, form: str, tokens: tuple[str, ...]) -> tuple[int, bool, bool]:
        """Give a key to a form never seen: the key, whether it is new, whether the form keeps it."""
        known = self._spell.table.find(tokens)
        if known is not None:
            return known, False, True
        if self._is_crowded() and not self._limiter.admits(form):
            self._limiter.news += 1
            return *self._spell.contain(), False
        events_before = len(self._spell.events)
        assignment = self._spell.learn(tokens)
        self._limiter.news += assignment.is_new or assignment.key == self._spell.catch_all
        for event in self._spell.events[events_before:]:
            if event.kind is EventKind.MERGED and event.other is not None:
                self._learned.forms.merge(event.key, event.other)
                self._keys_moved = True
        return *assignment, True

    def _is_crowded(self) -> bool:
        return 2 * len(self._spell.table.messages) >= self.config.max_templates

    def _add_form(self, form: str, key: int) -> int:
        if len(self._learned.forms) >= self.config.max_forms:
            self._replace_forms(Forms())
        return self._learned.forms.add(form, key)

    def _replace_forms(self, forms: Forms) -> None:
        """Go on with other forms; the cache repeats the forms, so it goes with them."""
        self._learned.forms = forms
        self._cache.clear()
        self._forget_outlines()
        self._keys_moved = True

    def _remember(self, number: int, skeleton: str, plain: str) -> None:
        if not self.config.cache_entries:
            return
        if len(self._cache) + 2 > self.config.cache_entries:
            self._cache.clear()
        self._cache[skeleton] = self._cache[plain] = number

    def _remember_outline(self, number: int, outline: bytes) -> None:
        known = self._outlines_of.get(number, 0)
        if known == _MOST_OUTLINES or not self.config.cache_entries:
            return
        if len(self._outlines) == self.config.cache_entries:
            self._forget_outlines()
            known = 0
        self._outlines[outline], self._outlines_of[number] = number, known + 1

    def _forget_outlines(self) -> None:
        self._outlines.clear()
        self._outlines_of.clear()

    def _end_window(self, row: int) -> None:
        self._limiter.end_window()
        if self._learned.lines % _REVIEW_LINES == 0:
            self._spell.row = row
            split_constants(self._spell, self._learned.forms, self._learned.reviewed)

    def _take_snapshot(self, changed: Iterable[int]) -> None:
        pieces = self._snapshot.pieces.copy()
        for key in changed:
            pieces.pop(key, None)
            pieces[self.resolve(key)] = self._pieces(self.resolve(key))
        self._snapshot = Snapshot(pieces, self._spell.table.aliases.copy())

    def _pieces(self, key: int) -> tuple[str, ...]:
        table = self._spell.table
        if key in table.messages:
            return pieces_of(table.messages[key].tokens)
        return pieces_of(table.forgotten.get(key, _CATCH_ALL))

    def _template(self, key: int) -> Template:
        key = self.resolve(key)
        table = self._spell.table
        pieces, count = self._snapshot.pieces[key], table.counts[key]
        return Template(key=key, pieces=pieces, count=count, is_sealed=key < table.sealed)
