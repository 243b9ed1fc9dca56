"""The templates known so far, and the indexes that find them without a scan.

Keys are given in order and never reused. A template that was merged into another leaves an alias, so its key keeps
its meaning. All indexes are rebuilt from the tokens alone, so they are no part of the state.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.parsing.message import Message, Place
from deeplog_grpc.parsing.tree import PrefixTree

_K = TypeVar("_K")

_MAX_POSTINGS = 64
"""Templates looked at for one word of a line: the rare words come first and decide."""

_MAX_CANDIDATES = 6
"""Templates compared with a line; those with most words in common come first."""


class TemplateTable:
    """Templates by key, by prefix tree, by word, and by "equal but for one word"."""

    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}
        self.aliases: dict[int, int] = {}
        self.counts: list[int] = []
        self.sealed = 0
        """Keys below were sealed."""
        self.firm: set[int] = set()
        """Keys whose constants were found by a split: they never become parameters again."""
        self.forgotten: dict[int, tuple[str, ...]] = {}
        """Keys that are gone, with the tokens they had last."""
        self._tree = PrefixTree()
        self._postings: dict[str, list[int]] = {}
        self._siblings: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self.counts)

    def resolve(self, key: int) -> int:
        """Follow the aliases of a key."""
        while key in self.aliases:
            key = self.aliases[key]
        return key

    def count(self, keys: NDArray[np.int32]) -> None:
        """Count a line for each key."""
        lines = np.bincount(keys)
        distinct = np.flatnonzero(lines)
        counts, aliases = self.counts, self.aliases
        for key, count in zip(distinct.tolist(), lines[distinct].tolist(), strict=True):
            while key in aliases:
                key = aliases[key]
            counts[key] += count

    def live(self) -> Iterator[int]:
        """Give the keys that are no aliases, in order."""
        return iter(sorted(self.messages))

    def add(self, message: Message) -> int:
        """Give a new key to a template."""
        key = len(self.counts)
        self.counts.append(0)
        self.insert(key, message)
        return key

    def insert(self, key: int, message: Message) -> None:
        """Enter a template under a key that has none."""
        self.messages[key] = message
        self._tree.add(message.tokens, key)
        for word in message.words:
            insort(self._postings.setdefault(word, []), key)
        if self._is_open(key):
            for place in message.places:
                insort(self._siblings.setdefault(place.signature, []), key)

    def remove(self, key: int) -> None:
        """Take a template out of all indexes; its key stays given."""
        message = self.messages.pop(key)
        self._tree.remove(message.tokens, key)
        for word in message.words:
            _discard(self._postings, word, key)
        if self._is_open(key):
            for place in message.places:
                _discard(self._siblings, place.signature, key)

    def _is_open(self, key: int) -> bool:
        """Tell whether evidence may make a parameter of a word of this template."""
        return key >= self.sealed and key not in self.firm

    def replace(self, key: int, message: Message) -> None:
        """Give a key another template."""
        self.remove(key)
        self.insert(key, message)

    def forget(self, key: int) -> None:
        """Take a template away for good; its key is never given again."""
        self.forgotten[key] = self.messages[key].tokens
        self.remove(key)
        self.firm.discard(key)

    def merge(self, key: int, survivor: int) -> None:
        """Make a key an alias of another one."""
        self.remove(key)
        self.firm.discard(key)
        self.aliases[key] = survivor
        self.counts[survivor] += self.counts[key]
        self.counts[key] = 0

    def seal(self) -> None:
        """Close the present templates to evidence: they never merge any more."""
        self.sealed = len(self.counts)
        self._siblings.clear()

    def find(self, line: Sequence[str]) -> int | None:
        """Find the template that covers a line (see `PrefixTree.find`)."""
        return self._tree.find(line)

    def exact(self, tokens: Sequence[str]) -> int | None:
        """Find the template with exactly these tokens."""
        return self._tree.get(tokens)

    def candidates(self, line: Message, tau: float) -> list[int]:
        """Give the templates that share most words with a line; ties go to the smaller key.

        Parameters
        ----------
        line : Message
            The line.
        tau : float
            Share of the line's constants that a template must hold.

        Returns
        -------
        list of int
            At most 6 keys. Words are looked up rarest first, 64 templates each, and only as many as a template must
            hold one of. So the cost does not grow with the number of templates.
        """
        postings = self._postings
        may_lack = (1 - tau) * len(line.constants)
        found: set[int] = set()
        for lacking, (_, word) in enumerate(sorted((len(postings.get(word, ())), word) for word in line.constants)):
            if lacking > may_lack:
                break
            found.update(postings.get(word, ())[:_MAX_POSTINGS])
        found -= self.firm
        shared = [(-sum(map(self.messages[key].words.__contains__, line.constants)), key) for key in found]
        least = tau * len(line.constants)
        return [key for count, key in sorted(shared)[:_MAX_CANDIDATES] if -count >= least]

    def siblings(self, message: Message) -> Iterator[tuple[Place, list[int]]]:
        """For each place of a template that may be a parameter: the templates that differ there and only there."""
        for place in message.places:
            keys = self._siblings.get(place.signature, ())
            yield place, [key for key in keys if self._differ_at(key, message.tokens, place.at)]

    def _differ_at(self, key: int, tokens: tuple[str, ...], index: int) -> bool:
        other = self.messages[key].tokens
        return (
            other[index] != tokens[index]
            and other[:index] == tokens[:index]
            and other[index + 1 :] == tokens[index + 1 :]
        )


def _discard(index: dict[_K, list[int]], entry: _K, key: int) -> None:
    keys = index[entry]
    del keys[bisect_left(keys, key)]
    if not keys:
        del index[entry]
