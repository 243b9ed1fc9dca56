"""Many small LSTMs in one pass: group g of every tensor belongs to the network of one log key.

Invariant: groups do not touch one another, in prediction nor, since every step of training is element by element, in
training. Predictions run in one shape (:data:`PASS_GROUPS` x :data:`PASS_ROWS`), filled up where needed, so a row's
answer does not depend on what stands beside it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PASS_GROUPS = 8
"""Networks of one pass of prediction."""
PASS_ROWS = 32
"""Rows of one network in a pass. A fifth of a millisecond, hardly more than with a quarter of the rows; a batch of a
thousand entries has some dozens of one log key."""

REMEMBERED = 6.0
"""Standard deviations of training inside which a vector is remembered: normal ones are, and a number ten times its
usual size is not."""

Weights = Mapping[str, Tensor]
"""Tensors by name, each with the networks as its first axis."""


def network_inputs(normalised: NDArray[np.float64], width: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors as a network sees them: 0 for a missing number, and what is present.

    Parameters
    ----------
    normalised : float64 array [n, m]
    width : int
        Of the widest vector, >= m.

    Returns
    -------
    inputs : float32 array [n, 2 * width]
    whole : bool array [n]
        False where a number is too far from training's to be shown to a network, or none is known.

    Examples
    --------
    >>> inputs, whole = network_inputs(np.array([[0.5, np.nan], [0.1, 99.0]]), 3)
    >>> inputs.tolist(), whole.tolist()
    ([[0.5, 0.0, 0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]], [True, False])
    """
    count, own = normalised.shape
    inputs = np.zeros((count, 2 * width), np.float32)
    known = ~np.isnan(normalised)
    whole: NDArray[np.bool_] = np.logical_and(
        known.any(axis=1), np.logical_not((np.abs(normalised) > REMEMBERED).any(axis=1))
    )
    present = known & whole[:, None]
    inputs[:, :own] = np.where(present, normalised, 0.0)
    inputs[:, width : width + own] = present
    return inputs, whole


def weight_shapes(width: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of one network's tensors.

    Parameters
    ----------
    width : int
        Numbers of a vector; the input has as many again, which tell what is present.
    """
    return {
        "input": (2 * width, 4 * hidden),
        "recurrent": (hidden, 4 * hidden),
        "bias": (1, 4 * hidden),
        "output": (hidden, width),
        "output_bias": (1, width),
    }


def new_weights(seeds: Sequence[Sequence[int]], width: int, hidden: int) -> dict[str, Tensor]:
    """Fresh weights, one network a seed; a network's are its own seed's, whatever stands beside it."""
    generators = [np.random.default_rng(seed) for seed in seeds]
    weights = {}
    for name, shape in weight_shapes(width, hidden).items():
        bound = 0.0 if name in ("bias", "output_bias") else hidden**-0.5
        drawn = [generator.uniform(-bound, bound, shape) for generator in generators]
        weights[name] = torch.from_numpy(np.stack(drawn).astype(np.float32))
    weights["bias"][:, :, hidden : 2 * hidden] = 1.0  # a forget gate that starts open keeps old vectors in sight
    return weights


def forward(weights: Weights, windows: Tensor) -> Tensor:
    """Predict the next vectors (CCS'17, section 3.2).

    Parameters
    ----------
    weights : mapping of str to FloatTensor [G, ...]
    windows : FloatTensor [G, B, h, 2 * width]
        Normalised vectors, 0 where missing, and 1 or 0 for present or missing.

    Returns
    -------
    FloatTensor [G, B, width]
    """
    size = weights["recurrent"].shape[1]
    # Rows come last: so the gates of all rows lie side by side, and it takes half the time.
    turned = {name: tensor.transpose(1, 2) for name, tensor in weights.items()}
    state = cell = None
    for vectors in windows.permute(2, 0, 3, 1).contiguous():
        gates = torch.baddbmm(turned["bias"], turned["input"], vectors)
        if state is not None:
            gates = torch.baddbmm(gates, turned["recurrent"], state)
        opened = torch.sigmoid(gates[:, : 3 * size])
        taken = opened[:, :size] * torch.tanh(gates[:, 3 * size :])
        cell = taken if cell is None else opened[:, size : 2 * size] * cell + taken
        state = opened[:, 2 * size :] * torch.tanh(cell)
    if state is None:
        raise ValueError("windows without vectors")
    return torch.baddbmm(turned["output_bias"], turned["output"], state).transpose(1, 2)


def predict(weights: Weights, requests: Sequence[tuple[int, NDArray[np.float32]]]) -> list[NDArray[np.float64]]:
    """Predict for some networks, each for rows of its own, in passes of one shape.

    Parameters
    ----------
    requests : sequence of (int, float32 array [n, h, 2 * width])
        The network, and its windows.

    Returns
    -------
    list of float64 arrays [n, width]
        One a request.
    """
    answers = [np.zeros((len(rows), weights["output"].shape[2])) for _, rows in requests]
    pieces = [(place, start) for place, (_, rows) in enumerate(requests) for start in range(0, len(rows), PASS_ROWS)]
    for first in range(0, len(pieces), PASS_GROUPS):
        taken = pieces[first : first + PASS_GROUPS]
        for (place, start), answer in zip(taken, _pass(weights, requests, taken), strict=False):
            filled = answers[place][start : start + PASS_ROWS]
            filled[:] = answer[: len(filled)]
    return answers


def _pass(
    weights: Weights,
    requests: Sequence[tuple[int, NDArray[np.float32]]],
    taken: Sequence[tuple[int, int]],
) -> NDArray[np.float32]:
    """Answers to some pieces of requests, up to `PASS_ROWS` rows each. Shape [PASS_GROUPS, PASS_ROWS, width]."""
    _, history, width = requests[0][1].shape
    windows = np.zeros((PASS_GROUPS, PASS_ROWS, history, width), np.float32)
    networks = np.zeros(PASS_GROUPS, np.int64)
    for group, (place, start) in enumerate(taken):
        networks[group], rows = requests[place]
        part = rows[start : start + PASS_ROWS]
        windows[group, : len(part)] = part
    with torch.inference_mode():
        own = torch.from_numpy(networks)
        chosen = {name: tensor[own] for name, tensor in weights.items()}
        answers: NDArray[np.float32] = forward(chosen, torch.from_numpy(windows)).numpy()
    return answers
