"""The log key model: which log key comes next (CCS'17, section 3.1).

A stack of LSTM layers reads the last h log keys of a session; a softmax over the keys follows the last step. One-hot
input times the first layer's matrix is a table look-up, so the input is an embedding.

Invariant: the answer for a window does not depend on the windows beside it. The network always runs on exactly
``CHUNK_ROWS`` rows (the last chunk is filled up), since a matrix product of another shape may round differently in
the last bit and turn a rank.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeplog_grpc.models.key_config import KeyModelConfig
from deeplog_grpc.models.vocabulary import BEGIN, END, FIRST_KEY_UNIT, Vocabulary

CHUNK_ROWS = 64
"""Rows of one pass through the network: at 64 a core is within 5 % of its best rate, and one pass takes about 1 ms."""

NO_LOG_PROBABILITY = -100.0
"""Log-probability of a unit that cannot be predicted: far below any other, yet finite, so that sums stay finite."""


class KeyNetwork(nn.Module):
    """Embedding, LSTM stack, linear layer over the units.

    Parameters
    ----------
    size : int
        Units, the reserve included.
    """

    def __init__(self, size: int, config: KeyModelConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, config.embedding)
        self.lstm = nn.LSTM(config.embedding, config.hidden, config.layers, batch_first=True)
        self.output = nn.Linear(config.hidden, size)

    def start(self, generator: torch.Generator) -> None:
        """Set what training starts from, by a generator of its own: torch's is shared by all threads."""
        bound = self.lstm.hidden_size**-0.5
        for weight in (*self.lstm.parameters(), *self.output.parameters()):
            nn.init.uniform_(weight, -bound, bound, generator=generator)
        nn.init.normal_(self.embedding.weight, generator=generator)

    def start_embeddings(self, embeddings: NDArray[np.float32]) -> None:
        """Set what training starts from. Shape [size, embedding]."""
        with torch.no_grad():
            self.embedding.weight.copy_(torch.from_numpy(embeddings))

    def forward(self, windows: Tensor) -> Tensor:
        """LongTensor [B, h] of units -> logits FloatTensor [B, size]."""
        states, _ = self.lstm(self.embedding(windows))
        logits: Tensor = self.output(states[:, -1])
        return logits


def predictable(vocabulary: Vocabulary, *, begin_end: bool) -> Tensor:
    """What to add to the logits so that only assigned units can be predicted. FloatTensor [size]."""
    mask = torch.full((vocabulary.size,), NO_LOG_PROBABILITY)
    mask[FIRST_KEY_UNIT : vocabulary.assigned] = 0.0
    if begin_end:
        mask[END] = 0.0
    return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What may follow one window."""

    log_probabilities: NDArray[np.float32]
    """Natural log of the probability of each unit. Shape [size]."""
    ranks: NDArray[np.int32]
    """Rank of each unit among the log keys, 1 = most probable; ties go to the lower unit. Shape [size]."""

    def best(self, count: int) -> list[int]:
        """The ``count`` most probable units of log keys, best first."""
        order = np.argsort(self.ranks[FIRST_KEY_UNIT:], kind="stable")[:count] + FIRST_KEY_UNIT
        return [int(unit) for unit in order if self.log_probabilities[unit] > NO_LOG_PROBABILITY / 2]


class LogKeyModel:
    """A trained log key model: an immutable snapshot of weights and vocabulary."""

    def __init__(self, config: KeyModelConfig, vocabulary: Vocabulary, network: KeyNetwork) -> None:
        self.config = config
        self.vocabulary = vocabulary
        self._network = network.eval()
        self._mask = predictable(vocabulary, begin_end=config.begin_end)

    def predict(self, windows: NDArray[np.int64]) -> list[Prediction]:
        """What may follow each window.

        Parameters
        ----------
        windows : int64 array [B, h]
            Units, oldest first.

        Returns
        -------
        list of Prediction, one a window
        """
        predictions: list[Prediction] = []
        for log_probabilities in self._chunks(windows):
            ranks = rank_units(log_probabilities)
            predictions += [  # copies: one kept row must not keep its whole chunk alive
                Prediction(log_probabilities=row.copy(), ranks=rank.copy())
                for row, rank in zip(log_probabilities, ranks, strict=True)
            ]
        return predictions

    def log_probabilities(self, windows: NDArray[np.int64], units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Natural log of the probability of one unit after each window. Shape [B, h], [B] -> [B]."""
        own = [
            rows[np.arange(len(rows)), units[start : start + len(rows)]]
            for start, rows in zip(range(0, len(windows), CHUNK_ROWS), self._chunks(windows), strict=True)
        ]
        return np.concatenate([np.zeros(0), *own])

    def _chunks(self, windows: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
        """Log-probabilities [<= CHUNK_ROWS, size] of the windows, chunk by chunk, always computed in one shape."""
        chunk = torch.full((CHUNK_ROWS, self.config.history), BEGIN, dtype=torch.long)
        for start in range(0, len(windows), CHUNK_ROWS):
            rows = min(CHUNK_ROWS, len(windows) - start)
            chunk[:rows] = torch.from_numpy(windows[start : start + rows])
            with torch.inference_mode():
                log_probabilities = torch.log_softmax(self._network(chunk) + self._mask, dim=1)
            yield log_probabilities[:rows].numpy()

    def weights(self) -> dict[str, Tensor]:
        """The network's tensors by name."""
        return dict(self._network.state_dict())

    def copy_of_network(self) -> KeyNetwork:
        """A network of its own with the same weights, for an update."""
        return deepcopy(self._network)

    @classmethod
    def from_weights(
        cls,
        config: KeyModelConfig,
        vocabulary: Vocabulary,
        weights: Mapping[str, Tensor],
    ) -> "LogKeyModel":
        """Put a model together from :meth:`weights`.

        Raises
        ------
        ValueError
            If a tensor is missing, is too much, has another shape, or holds a number that is not finite.
        """
        network = KeyNetwork(vocabulary.size, config)
        try:
            network.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise ValueError(
                f"weights do not fit the configured network: {str(error).splitlines()[-1].strip()}"
            ) from error
        broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise ValueError(f"weights are not finite: {', '.join(broken)}")
        return cls(config, vocabulary, network)


def rank_units(log_probabilities: NDArray[np.float32]) -> NDArray[np.int32]:
    """Rank of every unit among the log keys of its row: 1 = most probable, ties to the lower unit.

    The special units take no place; END gets the place it would have among the keys.

    Parameters
    ----------
    log_probabilities : float32 array [B, size]

    Examples
    --------
    >>> rank_units(np.log(np.array([[0.1, 0.3, 0.1, 0.2, 0.2, 0.1]], np.float32))).tolist()
    [[3, 1, 3, 1, 2, 3]]
    """
    keys = log_probabilities[:, FIRST_KEY_UNIT:]
    ranks = np.empty(log_probabilities.shape, np.int32)
    order = np.argsort(-keys, axis=1, kind="stable")
    places = np.arange(1, keys.shape[1] + 1, dtype=np.int32)
    np.put_along_axis(ranks[:, FIRST_KEY_UNIT:], order, places[None, :], axis=1)
    for unit in range(FIRST_KEY_UNIT):
        ranks[:, unit] = 1 + (keys > log_probabilities[:, unit : unit + 1]).sum(axis=1)
    return ranks


def set_threads(count: int) -> None:
    """Threads of one matrix product. One is best in a server: two spin against each other on a busy machine."""
    torch.set_num_threads(count)
