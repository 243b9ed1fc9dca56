"""Log keys that are alike: the similarity of templates, by the words they are made of.

A template is a vector of TF-IDF weights over its words (sub-words of identifiers, synonyms as one). The embedding of a
log key begins as a fixed random projection of that vector, so like templates start alike and are learned apart from
there. A template that training did not have may be judged through the nearest one it had: see :class:`SemanticIndex`.

Pure and exact: no pretrained model, no hashing, no state that scoring changes.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from math import log, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.lexicon import SLOT, Word, says_otherwise, weight_of, words_of
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT, Vocabulary

OWN_SHARE = 0.25
"""Share of an initial embedding that is the key's own: templates of the same words must not be one to the network."""

_CANDIDATES = 8
"""Known templates that are compared word by word."""

_SHARED_WORDS = 2
"""Words that two templates must have in common to the letter: one word and synonyms are too little to go by."""

_TIE = 0.02
"""Two templates whose similarities are closer than this are equally near."""

_DIGITS = 12
"""Distances are rounded to these, so that the order of sums cannot break a tie."""

_LONGEST_FRAME = 64
"""Words of a template up to which it is compared to all others for a single different word: bounds time and memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """The known log key through which a new one is judged."""

    key: int
    similarity: float
    """Cosine of the two templates' words, in (0, 1]."""


@dataclass(frozen=True, slots=True)
class _Weights:
    """How much each word tells: rare ones tell more."""

    of_token: Mapping[str, float]
    rarest: float
    """Of a word that no template has."""

    @classmethod
    def of(cls, templates: Collection[Sequence[Word]]) -> "_Weights":
        counts = Counter(token for words in templates for token in _tokens(words))
        weigh = {token: weight_of(token) * (1 + log((1 + len(templates)) / (1 + n))) for token, n in counts.items()}
        return cls(weigh, 1 + log((1 + len(templates)) / 2))

    def vector(self, words: Iterable[Word]) -> dict[str, float]:
        """Token -> weight, of length 1; empty without words."""
        weights = {token: self.of_token.get(token, self.rarest * weight_of(token)) for token in _tokens(words)}
        length = sqrt(sum(weight * weight for weight in weights.values()))
        return {token: weight / length for token, weight in weights.items()}


def initial_embeddings(
    vocabulary: Vocabulary, templates: Mapping[int, Sequence[str]], *, width: int, seed: int
) -> NDArray[np.float32]:
    """Embeddings for training to start from: alike where templates are alike.

    Parameters
    ----------
    templates : mapping
        Log key -> constant pieces of its template; a key without one starts at random.
    width : int
        Numbers of an embedding.
    seed : int
        The same seed and templates give the same numbers.

    Returns
    -------
    float32 array [units, width]
        Every number is distributed as N(0, 1), as without templates.
    """
    random = np.random.default_rng(seed)
    embeddings = random.standard_normal((vocabulary.size, width))
    words = {key: words_of(templates[key]) for key in vocabulary.keys if key in templates}
    weights = _Weights.of(words.values())
    directions = dict(
        zip(sorted(weights.of_token), random.standard_normal((len(weights.of_token), width)), strict=True)
    )
    for unit, key in enumerate(vocabulary.keys, FIRST_KEY_UNIT):
        if vector := weights.vector(words.get(key, ())):
            shared = np.sum([weight * directions[token] for token, weight in vector.items()], axis=0)
            embeddings[unit] = sqrt(1 - OWN_SHARE) * shared + sqrt(OWN_SHARE) * embeddings[unit]
    return embeddings.astype(np.float32)


class _Comparison(NamedTuple):
    """A known template beside a new one; the nearest, and of equal ones the one that may stand in, comes first."""

    distance: float
    """1 - similarity."""
    differs: bool
    """Whether they differ in what decides."""
    row: int


class SemanticIndex:
    """Finds the known template that a new one may be judged by.

    It must be near enough, the nearest, and alone so near; and the two must not differ in what decides: words of the
    lexicon (states, faults, negations, opposites, tenses), or a word that tells two *known* templates apart whose
    other words are the same, which is how a log shows what matters in it.

    Parameters
    ----------
    templates : mapping
        Log key -> constant pieces of its template, all of training: what was seen too seldom to be normal must stay
        abnormal, so that too can be nearest, and then there is no stand-in.
    normal : collection of int
        Log keys that may stand in.
    least : float
        Similarity that is near enough.

    Examples
    --------
    >>> templates = {0: ("interface ", " changed state to up"), 1: ("lease of ", " renewed by ", "")}
    >>> index = SemanticIndex(templates, normal={0, 1}, least=0.6)
    >>> index.stand_in(("Interface ", " has changed its link state to up"))
    StandIn(key=0, similarity=0.8...)
    >>> index.stand_in(("interface ", " changed state to down")) is None
    True
    """

    def __init__(self, templates: Mapping[int, Sequence[str]], *, normal: Collection[int], least: float) -> None:
        read = {key: words_of(templates[key]) for key in sorted(templates)}
        self._keys = [key for key, words in read.items() if _tokens(words)]
        self._words = [read[key] for key in self._keys]
        self._normal, self._least = frozenset(normal), least
        self._weights = _Weights.of(self._words)
        self._postings = self._posted()
        self._contrasts = _Contrasts(self._words)

    def __len__(self) -> int:
        """Templates to compare with."""
        return len(self._keys)

    def stand_in(self, pieces: Sequence[str]) -> StandIn | None:
        """The known log key to judge a new one by, or None where it must stay an unseen key.

        Parameters
        ----------
        pieces : sequence of str
            Constant pieces of the new template, or of the one line of it that was seen.
        """
        new = words_of(pieces)
        compared = sorted(self._compared(row, new) for row in self._candidates(new))
        if not compared:
            return None
        nearest, *others = compared
        key, similarity = self._keys[nearest.row], 1.0 - nearest.distance
        is_tied = any(other.distance < nearest.distance + _TIE and not other.differs for other in others)
        if nearest.differs or is_tied or similarity < self._least or key not in self._normal:
            return None
        return StandIn(key=key, similarity=similarity)

    def _posted(self) -> dict[str, tuple[NDArray[np.intp], NDArray[np.float64]]]:
        """Token -> the rows that hold it, and its weights there."""
        posted: dict[str, list[tuple[int, float]]] = {}
        for row, words in enumerate(self._words):
            for token, weight in self._weights.vector(words).items():
                posted.setdefault(token, []).append((row, weight))
        return {
            token: (np.array([row for row, _ in found], np.intp), np.array([weight for _, weight in found]))
            for token, found in posted.items()
        }

    def _candidates(self, new: Sequence[Word]) -> list[int]:
        """Rows of the templates that may be near enough, those that share most first; ties go to the lower row."""
        vector = self._weights.vector(new)
        found = [(*self._postings[token], weight) for token, weight in vector.items() if token in self._postings]
        if not found:
            return []
        rows = np.concatenate([rows for rows, _, _ in found])
        products = np.concatenate([weights * weight for _, weights, weight in found])
        cosines = np.bincount(rows, products, minlength=len(self._keys))
        # No template is nearer than it would be if all that only the new one has were values of parameters.
        bounds = np.sqrt(np.bincount(rows, np.concatenate([weights**2 for _, weights, _ in found]), len(self._keys)))
        order = np.argsort(-cosines, kind="stable")[:_CANDIDATES]
        return [int(row) for row in order if bounds[row] >= self._least - _TIE]

    def _compared(self, row: int, new: Sequence[Word]) -> "_Comparison":
        """Compare with one known template word by word."""
        known = self._words[row]
        kept = _without_values(known, new)
        ours, theirs = self._weights.vector(known), self._weights.vector(kept)
        similarity = min(1.0, sum(weight * theirs.get(token, 0.0) for token, weight in ours.items()))
        old_texts, new_texts = _texts(known), _texts(kept)
        gone, come = old_texts - new_texts, new_texts - old_texts
        differs = (
            len(old_texts & new_texts) < _SHARED_WORDS
            or known.count(SLOT) != kept.count(SLOT)
            or says_otherwise(known, new)
            or self._contrasts.differ(row, gone, come)
        )
        return _Comparison(round(1.0 - similarity, _DIGITS), differs, row)


def _tokens(words: Iterable[Word]) -> list[str]:
    """Distinct meanings, in order; parameters have none."""
    return list(dict.fromkeys(word.token for word in words if word is not SLOT))


def _texts(words: Iterable[Word]) -> set[str]:
    return {word.text for word in words if word is not SLOT}


def _without_values(known: Sequence[Word], new: Sequence[Word]) -> list[Word]:
    """The new words, with parameters where the known template has them: for "ann" at "user <*>".

    A line never seen shows a name as a word. One word is taken for one parameter that the line lacks.
    """
    kept: list[Word] = []
    matcher = SequenceMatcher(None, [word.token for word in known], [word.token for word in new], autojunk=False)
    for _, i0, i1, j0, j1 in matcher.get_opcodes():
        old, part = known[i0:i1], list(new[j0:j1])
        lacking = old.count(SLOT) - part.count(SLOT)
        if lacking > 0 and len(part) >= lacking:
            at = min(old.index(SLOT), len(part) - lacking)
            part[at : at + lacking] = [SLOT] * lacking
        kept += part
    return kept


class _Contrasts:
    """What tells known templates apart that are equal but for one word."""

    def __init__(self, templates: Sequence[Sequence[Word]]) -> None:
        texts = [tuple(word.text for word in words) for words in templates]
        frames: dict[tuple[tuple[str, ...], int], dict[int, str]] = {}
        for row, words in enumerate(texts):
            for at in range(len(words) if len(words) <= _LONGEST_FRAME else 0):
                frames.setdefault(((*words[:at], *words[at + 1 :]), at), {})[row] = words[at]
        self._frames: dict[str, set[int]] = {}
        """Word -> the frames that it stands in among others; an empty word where a template has none there."""
        self._telling: list[set[str]] = [set() for _ in texts]
        """For each template, its words that another template has another one for."""
        whole = set(texts)
        for number, ((frame, _), found) in enumerate(frames.items()):
            words_there = {*found.values(), *({""} if frame in whole else ())}
            if len(words_there) > 1:
                for word in words_there:
                    self._frames.setdefault(word, set()).add(number)
                for row, word in found.items():
                    self._telling[row].add(word)

    def differ(self, row: int, gone: set[str], come: set[str]) -> bool:
        """Whether a known template lost a word that tells it from others, or words told others apart."""
        if not self._telling[row].isdisjoint(gone):
            return True
        if not gone and not come:
            return False
        before = set[int]().union(*(self._frames.get(word, ()) for word in gone or {""}))
        return any(not before.isdisjoint(self._frames.get(word, ())) for word in come or {""})
