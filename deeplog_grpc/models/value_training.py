"""Gradient descent for many value networks at once; see `value_fitting`.

Invariant: networks do not pull at one another. Their losses are summed, and Adam and the clipping work element by
element.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, inf, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeplog_grpc.models.adam import Adam
from deeplog_grpc.models.value_config import ValueModelConfig
from deeplog_grpc.models.value_network import REMEMBERED, Weights, forward, new_weights

MIN_STEPS = 8
"""Gradient steps of an epoch at least; a key with few vectors passes over them several times."""

CHUNK_VECTORS = 100_000
"""Vectors of keys that are trained together: bounds the memory, about 100 MB at h = 8 and 8 positions."""

VALIDATION_ROWS = 256
"""Rows of one network in a validation pass: bounds its memory."""

LEAST_GAIN = 0.002
"""Share by which a validation loss must be lower to count as better: less is chance, and would never stop."""

GRADIENT_LIMIT = 0.1
"""Each number of a gradient is cut to this. By element, since a common norm would tie the networks together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The training pairs of one key."""

    key: int
    windows: NDArray[np.float32]
    """Inputs, see `value_network.forward`. Shape [n, h, 2 * width]."""
    targets: NDArray[np.float32]
    """Normalised next vectors, NaN = missing. Shape [n, width]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueEpoch:
    """How the training of some keys' networks stands after one pass."""

    number: int
    """1-based."""
    epochs: int
    """Most passes that there can be."""
    keys: int
    """Keys trained together."""
    validation_loss: float
    """Mean square error over their keys, each at its best pass, in standard deviations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork:
    """The network of one key, at the pass with its lowest validation loss."""

    weights: dict[str, Tensor]
    """Of the network trained on all blocks. Shapes [1, ...]."""
    predicted: NDArray[np.float64]
    """Of each vector, by the network trained without its block. Shape [n, width]."""
    loss: float
    """Mean square error of these predictions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetworks:
    """One network a series, in their order."""

    networks: tuple[TrainedNetwork, ...]
    epochs: int


def train_networks(
    series: Sequence[Series], config: ValueModelConfig, *, seed: int, on_epoch: Callable[[ValueEpoch], None]
) -> TrainedNetworks:
    """Train a network for each series, and one more for each block of time left out."""
    order = sorted(range(len(series)), key=lambda place: len(series[place].targets))
    networks: dict[int, TrainedNetwork] = {}
    longest = 0
    while order:
        # Keys of about the same length go together: the shortest, and as many of the next as fit.
        count = 1
        while count < len(order) and (count + 1) * len(series[order[count]].targets) <= CHUNK_VECTORS:
            count += 1
        chunk, order = order[:count], order[count:]
        training = _Training([series[place] for place in chunk], config, seed)
        longest = max(longest, training.run(on_epoch))
        networks.update(zip(chunk, training.best, strict=True))
    return TrainedNetworks(networks=tuple(networks[place] for place in range(len(series))), epochs=longest)


def loss_of(targets: NDArray[np.floating], predicted: NDArray[np.floating]) -> float:
    """Mean square error of what is present, with targets cut to the remembered range. Shapes [n, m]."""
    squares = (np.clip(targets, -REMEMBERED, REMEMBERED) - predicted) ** 2
    return float(np.nanmean(squares))


class _Training:
    """Some keys' networks, key by key: one a block of time left out, then the one that learns from all."""

    def __init__(self, series: Sequence[Series], config: ValueModelConfig, seed: int) -> None:
        self._series = series
        self._config = config
        self._seed = seed
        self._members = config.blocks + 1
        lengths = [len(one.targets) for one in series]
        self._windows = _stacked([one.windows for one in series], max(lengths))
        self._targets = _stacked([np.nan_to_num(one.targets) for one in series], max(lengths)).clamp(
            -REMEMBERED, REMEMBERED
        )
        self._present = _stacked([(~np.isnan(one.targets)).astype(np.float32) for one in series], max(lengths))
        self._blocks = [np.array_split(np.arange(length), config.blocks) for length in lengths]
        self._steps = max(MIN_STEPS, -(-max(lengths) // config.batch_rows))
        self._owners = torch.arange(len(series)).repeat_interleave(self._members)
        width, hidden = series[0].targets.shape[1], config.hidden
        seeds = [(seed, one.key + 1, member) for one in series for member in range(self._members)]
        self._weights = {name: nn.Parameter(tensor) for name, tensor in new_weights(seeds, width, hidden).items()}
        self.best = [TrainedNetwork(weights={}, predicted=one.targets.astype(np.float64), loss=inf) for one in series]

    def run(self, on_epoch: Callable[[ValueEpoch], None]) -> int:
        """Train until no key gets better; the number of passes."""
        adam = Adam(list(self._weights.values()))
        epoch = last_better = 0
        while epoch < self._config.epochs and epoch - last_better < self._config.patience:
            # Half a cosine, from the learning rate down to 0.
            learning_rate = self._config.learning_rate * (1.0 + cos(pi * epoch / self._config.epochs)) / 2
            for rows in self._shuffled(epoch).chunk(self._steps, 1):
                adam.zero_gradient()
                torch.autograd.backward(self._loss(rows))
                adam.clip_values(GRADIENT_LIMIT)
                adam.step(learning_rate)
            epoch += 1
            if self._keep_better():
                last_better = epoch
            mean = float(np.mean([best.loss for best in self.best]))
            on_epoch(ValueEpoch(number=epoch, epochs=self._config.epochs, keys=len(self._series), validation_loss=mean))
        return epoch

    def _shuffled(self, epoch: int) -> Tensor:
        """Rows that each network learns from in one epoch. LongTensor [G, steps * batch]."""
        wanted = self._steps * self._config.batch_rows
        rows = []
        for one, blocks in zip(self._series, self._blocks, strict=True):
            for member in range(self._members):
                random = np.random.default_rng((self._seed, one.key + 1, member, epoch))
                own = np.concatenate([block for place, block in enumerate(blocks) if place != member])
                passes = -(-wanted // len(own))
                rows.append(np.concatenate([random.permutation(own) for _ in range(passes)])[:wanted])
        return torch.from_numpy(np.stack(rows))

    def _loss(self, rows: Tensor) -> Tensor:
        """Sum over the networks of the mean square error on their rows [G, B] (CCS'17, section 3.2)."""
        owners = self._owners[:, None]
        predicted = forward(self._weights, self._windows[owners, rows])
        present = self._present[owners, rows]
        squares = (predicted - self._targets[owners, rows]) ** 2 * present
        return (squares.sum(dim=(1, 2)) / present.sum(dim=(1, 2)).clamp(min=1.0)).sum()

    def _keep_better(self) -> bool:
        """Validate every key; keep what is better than before. Whether anything was."""
        predicted = self._validate()
        better = False
        for place, one in enumerate(self._series):
            own = predicted[place, : len(one.targets)]
            loss = loss_of(one.targets, own)
            if loss < self.best[place].loss * (1.0 - LEAST_GAIN):
                better = True
                last = (place + 1) * self._members - 1
                weights = {name: tensor.detach()[last : last + 1].clone() for name, tensor in self._weights.items()}
                self.best[place] = TrainedNetwork(weights=weights, predicted=own, loss=loss)
        return better

    def _validate(self) -> NDArray[np.float64]:
        """Predictions of all vectors, each by the network that did not see its block. Shape [keys, n, width]."""
        predicted = np.zeros(tuple(self._targets.shape))
        for member in range(self._config.blocks):
            weights: Weights = {
                name: tensor.detach()[member :: self._members] for name, tensor in self._weights.items()
            }
            starts = [int(blocks[member][0]) for blocks in self._blocks]
            sizes = [len(blocks[member]) for blocks in self._blocks]
            for offset in range(0, max(sizes), VALIDATION_ROWS):
                count = min(VALIDATION_ROWS, max(sizes) - offset)
                rows = torch.tensor(starts)[:, None] + offset + torch.arange(count)
                rows = rows.clamp(max=self._targets.shape[1] - 1)
                with torch.inference_mode():
                    answers = forward(weights, self._windows[torch.arange(len(starts))[:, None], rows]).numpy()
                for place, (start, size) in enumerate(zip(starts, sizes, strict=True)):
                    own = min(count, size - offset)
                    if own > 0:
                        predicted[place, start + offset : start + offset + own] = answers[place, :own]
        return predicted


def _stacked(arrays: Sequence[NDArray[np.float32]], length: int) -> Tensor:
    """Arrays of different lengths as one tensor, filled up with 0."""
    stacked = np.zeros((len(arrays), length, *arrays[0].shape[1:]), np.float32)
    for place, array in enumerate(arrays):
        stacked[place, : len(array)] = array
    return torch.from_numpy(stacked)
