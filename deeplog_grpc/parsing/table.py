"""The templates known so far, and the indexes that find them without a scan.

Keys are given in order and never reused. A template that was merged into another leaves an alias, so its key keeps
its meaning. All indexes are rebuilt from the tokens alone, so they are no part of the state.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

from deeplog_grpc.parsing.plausibility import evidence_needed
from deeplog_grpc.parsing.tree import PrefixTree
from deeplog_grpc.parsing.words import is_word

_K = TypeVar("_K")

_MAX_POSTINGS = 64
"""Templates looked at for one word of a line: the rare words come first and decide."""

_MAX_CANDIDATES = 6
"""Templates compared with a line; those with most words in common come first."""

_MAX_PLACES = 16
"""Places of one template for which evidence is kept."""


class TemplateTable:
    """Templates by key, by prefix tree, by word, and by "equal but for one word"."""

    def __init__(self) -> None:
        self.tokens: dict[int, tuple[str, ...]] = {}
        self.aliases: dict[int, int] = {}
        self.counts: list[int] = []
        self.sealed = 0
        """Keys below were sealed."""
        self._tree = PrefixTree()
        self.words: dict[int, frozenset[str]] = {}
        """The words of each template, units too."""
        self._postings: dict[str, list[int]] = {}
        self._siblings: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self.counts)

    def resolve(self, key: int) -> int:
        """Follow the aliases of a key."""
        while key in self.aliases:
            key = self.aliases[key]
        return key

    def live(self) -> Iterator[int]:
        """Give the keys that are no aliases, in order."""
        return iter(sorted(self.tokens))

    def add(self, tokens: tuple[str, ...]) -> int:
        """Give a new key to a template."""
        key = len(self.counts)
        self.counts.append(0)
        self.insert(key, tokens)
        return key

    def insert(self, key: int, tokens: tuple[str, ...]) -> None:
        """Enter a template under a key that has none."""
        self.tokens[key] = tokens
        self._tree.add(tokens, key)
        self.words[key] = frozenset(token for token in tokens if is_word(token))
        for word in self.words[key]:
            insort(self._postings.setdefault(word, []), key)
        if key >= self.sealed:
            for signature, _, _ in _places(tokens):
                insort(self._siblings.setdefault(signature, []), key)

    def remove(self, key: int) -> tuple[str, ...]:
        """Take a template out of all indexes; its key stays given."""
        tokens = self.tokens.pop(key)
        self._tree.remove(tokens, key)
        for word in self.words.pop(key):
            _discard(self._postings, word, key)
        if key >= self.sealed:
            for signature, _, _ in _places(tokens):
                _discard(self._siblings, signature, key)
        return tokens

    def merge(self, key: int, survivor: int) -> None:
        """Make a key an alias of another one."""
        self.remove(key)
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

    def candidates(self, words: Sequence[str]) -> list[int]:
        """Give the templates that share most words with a line; ties go to the smaller key.

        Parameters
        ----------
        words : sequence of str
            The line's constant words.

        Returns
        -------
        list of int
            At most 6 keys. Words are looked up rarest first, 64 templates each, so the cost does not grow with the
            number of templates.
        """
        shared: Counter[int] = Counter()
        for word in sorted(set(words), key=lambda word: (len(self._postings.get(word, ())), word)):
            shared.update(self._postings.get(word, [])[:_MAX_POSTINGS])
        return sorted(shared, key=lambda key: (-shared[key], key))[:_MAX_CANDIDATES]

    def siblings(self, tokens: Sequence[str]) -> Iterator[tuple[int, int, list[int]]]:
        """For each place of a template that may be a parameter: (place, words needed, templates that differ there)."""
        for signature, place, needed in _places(tokens):
            keys = self._siblings.get(signature, ())
            yield place, needed, [key for key in keys if self._differ_at(key, tokens, place)]

    def _differ_at(self, key: int, tokens: Sequence[str], place: int) -> bool:
        other = self.tokens[key]
        return (
            other[:place] == tuple(tokens[:place])
            and other[place + 1 :] == tuple(tokens[place + 1 :])
            and other[place] != tokens[place]
        )


def _places(tokens: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Give, for each place that evidence can turn into a parameter: a hash of all but it, the place, words needed."""
    for place, needed in evidence_needed(tokens)[:_MAX_PLACES]:
        # Equal hashes are compared token by token before they count, so a collision changes nothing.
        yield hash((tuple(tokens[:place]), tuple(tokens[place + 1 :]))), place, needed


def _discard(index: dict[_K, list[int]], entry: _K, key: int) -> None:
    keys = index[entry]
    del keys[bisect_left(keys, key)]
    if not keys:
        del index[entry]
