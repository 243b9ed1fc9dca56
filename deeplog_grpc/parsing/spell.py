"""Spell: streaming templates by longest common subsequence, with a judgement of what may be a parameter.

A line that no template covers goes through three look-ups, each only if the one before found nothing:

1. the prefix tree: a template that covers the line as it is;
2. templates whose constants all stand in the line, in order;
3. templates that share at least ``tau`` of the line's constants (longest common subsequence, by back-tracking).

Look-ups 2 and 3 may generalise the template they find, if every difference is plausible as a parameter
(`plausibility.py`); its key stays. Ties: most constants in common, then the shorter template, then the smaller key.
A line that finds nothing founds a key, and may be the evidence that a place where many templates differ is a parameter.

References
----------
M. Du and F. Li, "Spell: Streaming Parsing of System Event Logs", ICDM 2016.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from deeplog_grpc.parsing.alignment import Stretch, align, generalise
from deeplog_grpc.parsing.config import ParserConfig
from deeplog_grpc.parsing.events import NO_ROW, EventKind, TemplateEvent, kept_slots, moved_slots
from deeplog_grpc.parsing.message import Message
from deeplog_grpc.parsing.plausibility import Difference, cannot_vary, judge
from deeplog_grpc.parsing.table import TemplateTable
from deeplog_grpc.parsing.templates import pieces_of
from deeplog_grpc.parsing.words import VARIABLE, is_unit, is_word, may_vary


class Assignment(NamedTuple):
    """The key of a line."""

    key: int
    is_new: bool = False
    """The line founded its key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Match:
    """A template that a line may join."""

    key: int
    common: int
    tokens: tuple[str, ...]
    """The template's tokens after it took in the line."""
    stretches: list[Stretch]

    @property
    def rank(self) -> tuple[int, int, int]:
        return (-self.common, len(self.tokens), self.key)


class Spell:
    """Gives keys to tokenized lines, one after the other.

    Examples
    --------
    >>> from deeplog_grpc.parsing.words import tokenize
    >>> spell = Spell(ParserConfig())
    >>> lines = ("session opened for user ann", "session closed for user ann", "session opened for user bob")
    >>> [spell.learn(tokenize(line, 99)).key for line in lines]
    [0, 1, 0]
    >>> [len(spell.table.messages[key].tokens) for key in (0, 1)], spell.table.messages[0].tokens[-1] == VARIABLE
    ([9, 9], True)
    """

    def __init__(self, config: ParserConfig) -> None:
        self._config = config
        self.table = TemplateTable()
        self.catch_all: int | None = None
        """The key of all lines that found no room for a template of their own."""
        self.events: list[TemplateEvent] = []
        """What happened since somebody took them out."""
        self.row = NO_ROW
        """The line that events are caused by."""

    def seed(self, tokens: tuple[str, ...]) -> None:
        """Enter a template given by the user.

        Raises
        ------
        ValueError
            If there is one with the same tokens.
        """
        if self.table.exact(tokens) is not None:
            raise ValueError("another one has the same constants")
        self.table.add(Message.of(tokens))

    def learn(self, line: tuple[str, ...]) -> Assignment:
        """Find or found the key of a line that no template covers.

        Parameters
        ----------
        line : tuple of str
            Tokens of a skeleton (`words.tokenize`).
        """
        message = Message.of(line)
        match = self._best_match(message) if message.constants else None
        if match is not None:
            return self._join(match)
        return self._evidence(message) or self._found(message)

    def _found(self, line: Message) -> Assignment:
        if len(self.table.messages) >= self._config.max_templates:
            return self.contain()
        return self._created(self.table.add(line))

    def contain(self) -> Assignment:
        """Give the key of all lines without a template of their own."""
        if self.catch_all is not None:
            return Assignment(self.catch_all)
        # It stands in no index: no line is found to be like it.
        self.catch_all = len(self.table)
        self.table.counts.append(0)
        return self._created(self.catch_all)

    def _created(self, key: int) -> Assignment:
        self._tell(EventKind.CREATED, key)
        return Assignment(key, is_new=True)

    def _tell(self, kind: EventKind, key: int, other: int | None = None, slots: tuple[int, ...] = ()) -> None:
        self.events.append(TemplateEvent(kind=kind, key=key, other=other, slots=slots, row=self.row))

    def forget(self, key: int) -> None:
        """Take a template away; the next line of its kind founds a new key.

        Raises
        ------
        ValueError
            If there is no such template.
        """
        if key == self.catch_all:
            self.catch_all = None
            self.table.forgotten[key] = (VARIABLE,)
        elif key in self.table.messages:
            self.table.forget(key)
        else:
            raise ValueError(f"there is no template with log key {key}")
        self._tell(EventKind.FORGOTTEN, key)

    def split(self, key: int, slot: int, words: Sequence[str]) -> list[int]:
        """Make a parameter constant: a template for each word that stood there.

        Parameters
        ----------
        key : int
            The template.
        slot : int
            The parameter.
        words : sequence of str
            Its values. The first one keeps the key.

        Returns
        -------
        list of int
            The key of each word; empty when there is no room, or a template for one of the words already.
        """
        table = self.table
        old = table.messages[key].tokens
        index = [n for n, token in enumerate(old) if token == VARIABLE][slot]
        parts = [(*old[:index], word, *old[index + 1 :]) for word in words]
        has_room = len(table.messages) + len(parts) - 1 <= self._config.max_templates
        if not has_room or any(table.exact(tokens) is not None for tokens in parts):
            return []
        table.remove(key)
        keys = [key, *range(len(table), len(table) + len(parts) - 1)]
        table.counts += [0] * (len(parts) - 1)
        table.firm.update(keys)
        for part, tokens in zip(keys, parts, strict=True):
            table.insert(part, Message.of(tokens))
            self._tell(EventKind.SPLIT, part, key, kept_slots(pieces_of(old), pieces_of(tokens)))
        return keys

    def _best_match(self, line: Message) -> _Match | None:
        near = self.table.candidates(line, self._config.tau)
        candidates = [key for key in near if _may_match(self.table.messages[key], line)]
        covered = [key for key in candidates if _is_subsequence(self.table.messages[key].constants, line.constants)]
        rest = [key for key in candidates if key not in covered]
        return self._best_of(covered, line) or self._best_of(rest, line)

    def _best_of(self, keys: Iterable[int], line: Message) -> _Match | None:
        matches = [match for key in keys if (match := self._match(key, line)) is not None]
        return min(matches, key=lambda match: match.rank, default=None)

    def _match(self, key: int, line: Message) -> _Match | None:
        template = self.table.messages[key]
        stretches = align(template.tokens, line.tokens)
        if stretches is None:
            return None
        judgements = []
        for stretch in stretches:
            judgements.append(judge(template.tokens, line.tokens, stretch))
            if judgements[-1] is Difference.MEANING:
                return None
        differing = {k for stretch in stretches for k in range(stretch.i0, stretch.i1)}
        tokens = template.tokens
        common = sum(is_word(t) and not is_unit(tokens, k) and k not in differing for k, t in enumerate(tokens))
        names = judgements.count(Difference.NAME)
        tau = self._config.sealed_tau if key < self.table.sealed else self._config.tau
        if not common or common < tau * max(len(template.constants), len(line.constants)) or common < 2 * names:
            return None
        wide = [judgement is Difference.VALUE for judgement in judgements]
        return _Match(key=key, common=common, tokens=generalise(tokens, stretches, wide), stretches=stretches)

    def _join(self, match: _Match) -> Assignment:
        """Let a template take in a line, and with it the templates that differ from it only where it changed."""
        key, table = match.key, self.table
        template = table.messages[key]
        if match.tokens == template.tokens:
            return Assignment(key)
        if key < table.sealed:
            twin = table.exact(match.tokens)
            return Assignment(twin) if twin is not None else self._generalised(key, match.tokens)
        changed = {stretch.i0 for stretch in match.stretches if stretch.i1 - stretch.i0 == 1}
        same = {other for place, keys in table.siblings(template) if place.at in changed for other in keys}
        return self._unite({key, *same}, match.tokens)

    def _evidence(self, line: Message) -> Assignment | None:
        """Turn a place into a parameter once enough templates are equal to the line but for that place."""
        for place, keys in self.table.siblings(line):
            if len(keys) + 1 >= place.needed:
                return self._unite(set(keys), (*line.tokens[: place.at], VARIABLE, *line.tokens[place.at + 1 :]))
        return None

    def _unite(self, keys: set[int], tokens: tuple[str, ...]) -> Assignment:
        """Make one template of several; the smallest key survives, so a sealed one never becomes an alias."""
        table = self.table
        twin = table.exact(tokens)
        if twin is not None:
            keys = keys | {twin}
        survivor = min(keys)
        for key in sorted(keys - {survivor}):
            slots = moved_slots(pieces_of(table.messages[key].tokens), pieces_of(tokens))
            table.merge(key, survivor)
            self._tell(EventKind.MERGED, key, survivor, slots)
        if table.messages[survivor].tokens == tokens:
            return Assignment(survivor)
        return self._generalised(survivor, tokens)

    def _generalised(self, key: int, tokens: tuple[str, ...]) -> Assignment:
        slots = moved_slots(pieces_of(self.table.messages[key].tokens), pieces_of(tokens))
        self.table.replace(key, Message.of(tokens))
        self._tell(EventKind.GENERALISED, key, slots=slots)
        return Assignment(key)


def _may_match(template: Message, line: Message) -> bool:
    """Tell whether an alignment has a chance: what it would find by its end is seen here at a tenth of the cost."""
    if line.has_free_text:
        return True
    return all(map(may_vary, template.words ^ line.words)) and not _says_something_else(template, line)


def _says_something_else(template: Message, line: Message) -> bool:
    """Tell whether the first or the last difference is a new word for an old one, where no word may vary."""
    if template.has_free_text:
        return False
    ahead = zip(template.tokens, line.tokens, strict=False)
    first = next((at for at, (old, new) in enumerate(ahead) if old != new), None)
    if first is None:
        return False
    if _exchanges_constant(template, line, first, first):
        return True
    behind = zip(reversed(template.tokens), reversed(line.tokens), strict=False)
    last = next((at for at, (old, new) in enumerate(behind, 1) if old != new), None)
    return last is not None and _exchanges_constant(template, line, len(template.tokens) - last, -last)


def _exchanges_constant(template: Message, line: Message, at: int, line_at: int) -> bool:
    old, new = template.tokens[at], line.tokens[line_at]
    is_exchange = old in template.words and new in line.words and old not in line.words and new not in template.words
    return is_exchange and cannot_vary(template.tokens, at) and not is_unit(template.tokens, at)


def _is_subsequence(part: Sequence[str], whole: Sequence[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)
