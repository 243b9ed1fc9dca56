"""The log key model: which log key comes next (CCS'17, section 3.1).

A stack of LSTM layers reads the last h log keys of a session; a softmax over the keys follows the last step. One-hot
input times the first layer's matrix is a table look-up, so the input is an embedding.

Invariant: the answer for a window does not depend on the windows beside it. A matrix product of another shape may round
differently in the last bit and turn a rank, so the network runs on ``CHUNK_ROWS`` rows, the last chunk filled up; or
on a multiple of ``STEP_ROWS``, where a trial of all these shapes with the model's own weights gave the same bits.

A window is read in two steps. The LSTM makes its *hidden vector*, a few numbers that say all that the model knows of
the window; the linear layer turns that into the probability of every unit. Whoever keeps the first needs no memory
that grows with the vocabulary.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeplog_grpc.models.key_config import KeyModelConfig
from deeplog_grpc.models.vocabulary import END, FIRST_KEY_UNIT, Vocabulary

CHUNK_ROWS = 64
"""Rows of one pass through the network at most: a core is near its best rate, and a pass takes about half a ms."""

STEP_ROWS = 8
"""Fewest rows of a pass, a third of the time of `CHUNK_ROWS`. Products of one or two rows have kernels of their own,
which round differently."""

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

    def rank(self, unit: int) -> int:
        """Rank of a unit among the log keys, 1 = most probable; ties go to the lower unit."""
        return int(rank_units(self.log_probabilities[None], np.array([unit]))[0])

    def best(self, count: int) -> list[int]:
        """The ``count`` most probable units of log keys, best first."""
        keys = self.log_probabilities[FIRST_KEY_UNIT:]
        # Those no less probable than the last of them: to sort all would take longer than to predict them.
        least = np.partition(keys, -count)[-count] if count < len(keys) else keys.min(initial=0.0)
        places = np.flatnonzero((keys >= least) & (keys > NO_LOG_PROBABILITY / 2))
        order = np.argsort(-keys[places], kind="stable")[:count]
        units: list[int] = (places[order] + FIRST_KEY_UNIT).tolist()
        return units


def rank_units(log_probabilities: NDArray[np.float32], units: NDArray[np.int64]) -> NDArray[np.int32]:
    """Rank of one unit of each row among the log keys: 1 = most probable, ties to the lower unit.

    The special units take no place; END gets the place it would have among the keys.

    Parameters
    ----------
    log_probabilities : float32 array [B, size]
    units : int64 array [B]

    Examples
    --------
    >>> row = np.log(np.array([0.1, 0.3, 0.1, 0.2, 0.2, 0.1], np.float32))
    >>> rank_units(np.tile(row, (6, 1)), np.arange(6)).tolist()
    [3, 1, 3, 1, 2, 3]
    """
    own = log_probabilities[np.arange(len(units)), units, None]
    keys = log_probabilities[:, FIRST_KEY_UNIT:]
    ahead = keys > own
    ties = keys == own
    if np.count_nonzero(ties) > np.count_nonzero(units >= FIRST_KEY_UNIT):  # not only with themselves
        ahead |= ties & (np.arange(FIRST_KEY_UNIT, log_probabilities.shape[1]) < units[:, None])
    return np.array([1 + np.count_nonzero(row) for row in ahead], np.int32)  # an eighth of the time of a sum of rows


class LogKeyModel:
    """A trained log key model: an immutable snapshot of weights and vocabulary."""

    def __init__(self, config: KeyModelConfig, vocabulary: Vocabulary, network: KeyNetwork) -> None:
        self.config = config
        self.vocabulary = vocabulary
        self._network = network.eval()
        self._embedding = network.embedding.weight.detach().numpy()
        self._lstm: list[Tensor] = [weight for layer in network.lstm.all_weights for weight in layer]
        self._bias = network.output.bias.detach() + predictable(vocabulary, begin_end=config.begin_end)
        self._steps: dict[int, int] = {}
        """Threads of a product -> what the rows of a pass are a multiple of; see :meth:`_step`."""

    def read(self, windows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Hidden vectors of windows: what the network keeps of them.

        Parameters
        ----------
        windows : int64 array [B, h]
            Units, oldest first.

        Returns
        -------
        float32 array [B, hidden]
        """
        chunks = [self._pass(self._embedding[windows[part]], self._read) for part in _parts(len(windows))]
        return np.concatenate([np.zeros((0, self.config.hidden), np.float32), *chunks])

    def place(
        self, hidden: NDArray[np.float32], units: NDArray[np.int64]
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Probability and rank of one unit after each window.

        Parameters
        ----------
        hidden : float32 array [B, hidden]
            As of :meth:`read`.
        units : int64 array [B]

        Returns
        -------
        log_probabilities : float32 array [B]
            Natural logs.
        ranks : int32 array [B]
            1 = most probable, ties to the lower unit.
        """
        own, ranks = np.empty(len(units), np.float32), np.empty(len(units), np.int32)
        for part in _parts(len(units)):
            rows = self._pass(hidden[part], self._log_softmax)
            own[part] = rows[np.arange(len(rows)), units[part]]
            ranks[part] = rank_units(rows, units[part])
        return own, ranks

    def predictions(self, hidden: NDArray[np.float32]) -> list[Prediction]:
        """All that may follow each window, by hidden vectors. Shape [B, hidden] -> B."""
        return [
            Prediction(log_probabilities=row.copy())  # one kept row must not keep its whole chunk alive
            for part in _parts(len(hidden))
            for row in self._pass(hidden[part], self._log_softmax)
        ]

    def predict(self, windows: NDArray[np.int64]) -> list[Prediction]:
        """All that may follow each window. Shape [B, h] -> B."""
        return self.predictions(self.read(windows))

    def log_probabilities(self, windows: NDArray[np.int64], units: NDArray[np.int64]) -> NDArray[np.float64]:
        """Natural log of the probability of one unit after each window. Shape [B, h], [B] -> [B]."""
        own = np.empty(len(units))
        for part in _parts(len(units)):
            rows = self._pass(self.read(windows[part]), self._log_softmax)
            own[part] = rows[np.arange(len(rows)), units[part]]
        return own

    def _pass(
        self, rows: NDArray[np.float32], ask: Callable[[Tensor], Tensor], *, step: int = 0
    ) -> NDArray[np.float32]:
        """Answers to at most `CHUNK_ROWS` rows, which are filled up with zeros to a multiple of the step."""
        step = step or self._step()
        # In a tensor of its own: the place in memory can tell in the last bit, too, and torch's are all aligned.
        chunk = torch.zeros(-(-len(rows) // step) * step, *rows.shape[1:])
        chunk.numpy()[: len(rows)] = rows
        with torch.inference_mode():
            answers = ask(chunk)
        return answers[: len(rows)].numpy()

    def _read(self, inputs: Tensor) -> Tensor:
        """Hidden vectors of embedded windows, without what modules do around it. [B, h, embedding] -> [B, hidden]."""
        start = torch.zeros(self.config.layers, len(inputs), self.config.hidden)
        states: Tensor
        states, _, _ = torch.lstm(inputs, (start, start), self._lstm, True, self.config.layers, 0.0, False, False, True)
        return states[:, -1]

    def _log_softmax(self, hidden: Tensor) -> Tensor:
        """Log-probabilities. FloatTensor [B, hidden] -> [B, size]."""
        return torch.log_softmax(nn.functional.linear(hidden, self._network.output.weight, self._bias), dim=1)

    def _step(self) -> int:
        """`STEP_ROWS`, where any multiple of it gives the same bits as `CHUNK_ROWS`; else that.

        Which kernels multiply, and so in which order they sum up, is decided by shapes and threads alone.
        """
        threads = torch.get_num_threads()
        if threads not in self._steps:
            self._steps[threads] = STEP_ROWS if self._rounds_alike() else CHUNK_ROWS
        return self._steps[threads]

    def _rounds_alike(self) -> bool:
        """Whether windows at the begin and the end of a full chunk have the same answers in all smaller shapes."""
        shape = (CHUNK_ROWS, self.config.history)
        windows = np.random.default_rng(0).integers(0, self.vocabulary.size, shape)
        hidden, answers = self._answers(windows)
        return all(
            np.array_equal(some, whole[rows])
            for size in range(STEP_ROWS, CHUNK_ROWS, STEP_ROWS)
            for rows in (slice(size), slice(-size, None))
            for some, whole in zip(self._answers(windows[rows]), (hidden, answers), strict=True)
        )

    def _answers(self, windows: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Hidden vectors and log-probabilities of windows in one pass of just as many rows."""
        hidden = self._pass(self._embedding[windows], self._read, step=len(windows))
        return hidden, self._pass(hidden, self._log_softmax, step=len(windows))

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
        _check_sizes(config, vocabulary.size, weights)
        try:
            network = KeyNetwork(vocabulary.size, config)
            network.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise ValueError(
                f"weights do not fit the configured network: {str(error).splitlines()[-1].strip()}"
            ) from error
        broken = [name for name, tensor in weights.items() if not bool(torch.isfinite(tensor).all())]
        if broken:
            raise ValueError(f"weights are not finite: {', '.join(broken)}")
        return cls(config, vocabulary, network)


def _check_sizes(config: KeyModelConfig, size: int, weights: Mapping[str, Tensor]) -> None:
    """Refuse sizes that are not those of the weights, before a network takes memory for them: they may be forged."""
    expected = {
        "embedding.weight": (size, config.embedding),
        f"lstm.weight_hh_l{config.layers - 1}": (4 * config.hidden, config.hidden),
        "output.weight": (size, config.hidden),
    }
    for name, shape in expected.items():
        if name not in weights or tuple(weights[name].shape) != shape:
            raise ValueError(f"weights do not fit the configured network: {name} should have the shape {shape}")


def _parts(count: int) -> list[slice]:
    """Rows of the passes."""
    return [slice(start, start + CHUNK_ROWS) for start in range(0, count, CHUNK_ROWS)]


def set_threads(count: int) -> None:
    """Threads of one matrix product. One is best in a server: two spin against each other on a busy machine."""
    torch.set_num_threads(count)
