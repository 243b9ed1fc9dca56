"""The forms of lines seen so far (variables masked): the key of each, and how many lines had it."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

UNKNOWN = 0
"""The number of no form."""


class Forms:
    """Forms by number; numbers are small and dense, so a batch's keys are one indexing operation.

    Examples
    --------
    >>> forms = Forms()
    >>> number = forms.add("disk is full", 7)
    >>> number == forms.find("disk is full"), forms.find("never seen") == UNKNOWN
    (True, True)
    >>> forms.count(np.array([number, number])), list(forms)
    (None, [('disk is full', 7, 2)])
    >>> forms.keys(np.array([number, UNKNOWN])).tolist()
    [7, -1]
    """

    def __init__(self, known: Iterable[tuple[str, int, int]] = ()) -> None:
        self._numbers: dict[str, int] = {}
        self._texts = [""]
        self._keys = np.full(64, -1, np.int32)
        self._lines = np.zeros(64, np.int64)
        for text, key, lines in known:
            number = self.add(text, key)
            self._lines[number] = lines

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[tuple[str, int, int]]:
        """Give the text, key and lines of each form, in the order they were added."""
        for text, number in self._numbers.items():
            yield text, int(self._keys[number]), int(self._lines[number])

    def find(self, text: str) -> int:
        """Give the number of a form; `UNKNOWN` if it was never added."""
        return self._numbers.get(text, UNKNOWN)

    def add(self, text: str, key: int) -> int:
        """Add a form that is not known yet."""
        number = len(self._texts)
        if number == len(self._keys):
            self._keys = np.concatenate([self._keys, np.full_like(self._keys, -1)])
            self._lines = np.concatenate([self._lines, np.zeros_like(self._lines)])
        self._numbers[text] = number
        self._texts.append(text)
        self._keys[number] = key
        return number

    def key(self, number: int) -> int:
        """Give the key of one form."""
        return int(self._keys[number])

    def keys(self, numbers: NDArray[np.intp]) -> NDArray[np.int32]:
        """Give the keys of forms by their numbers, -1 for `UNKNOWN`."""
        return self._keys[numbers]

    def count(self, numbers: NDArray[np.intp]) -> None:
        """Count a line for each number."""
        counts = np.bincount(numbers)
        self._lines[: len(counts)] += counts

    def merge(self, key: int, survivor: int) -> None:
        """Give the forms of one key to another one."""
        self._keys[self._keys == key] = survivor

    def move(self, text: str, key: int) -> None:
        """Give one form to another key."""
        self._keys[self._numbers[text]] = key

    def of(self, key: int) -> list[tuple[str, int]]:
        """Give the forms of a key, each with its lines."""
        return [(self._texts[n], int(self._lines[n])) for n in np.flatnonzero(self._keys == key).tolist()]

    def keys_with(self, least: int, most: int) -> list[int]:
        """Give the keys that have so many forms."""
        forms = np.bincount(self._keys[self._keys >= 0])
        return np.flatnonzero((forms >= least) & (forms <= most)).tolist()
