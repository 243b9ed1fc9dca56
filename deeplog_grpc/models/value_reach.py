"""How far numbers may be from what is expected of them until somebody has to look more closely.

A network's answer lies in a range that its weights alone tell: an LSTM's state is inside (-1, 1). A number that is
unremarkable beside every answer in that range need not wait for one. So networks are asked about few vectors, and the
verdicts are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deeplog_grpc.models.value_network import REMEMBERED, Weights
from deeplog_grpc.models.value_parts import KeyRule, Outlook
from deeplog_grpc.models.value_vectors import Scale

_ROUNDING = 1e-5
"""What a range is wider by than its formula says, relative and in standard deviations: networks count in float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What numbers of a key with a network need not be looked at more closely; m positions."""

    by_network: NDArray[np.float64]
    """Errors of the network's predictions between which a number is unremarkable. Shape [2, m]."""
    by_median: NDArray[np.float64]
    """The same of the medians."""
    medians: NDArray[np.float64]
    """Normalised. Shape [m]."""
    settled: NDArray[np.float64]
    """Numbers, in original units, that are unremarkable whatever the network says, and by the median as well. Lowest
    and highest; where there is none, infinity and minus infinity. Shape [2, m]."""
    usual: NDArray[np.float64]
    """Those that are near enough to training's, too, to be shown to the network. Shape [2, m]."""

    @classmethod
    def of(cls, rule: KeyRule, weights: Weights, p_value: float) -> "Reach":
        """Of a rule with a network.

        Parameters
        ----------
        weights : mapping of str to Tensor
            The networks of the model.
        p_value : float
            From which on a number is unremarkable.
        """
        if rule.by_network is None or rule.network is None:
            raise ValueError(f"key {rule.key} has no network")
        by_network, by_median = _reach(rule, rule.by_network, p_value), _reach(rule, rule.by_median, p_value)
        medians = rule.medians()
        lowest, highest = _answers(weights, rule.network, len(rule.positions))
        low = np.maximum(highest + by_network[0], medians + by_median[0])
        high = np.minimum(lowest + by_network[1], medians + by_median[1])
        return cls(
            by_network=by_network,
            by_median=by_median,
            medians=medians,
            settled=_restored(rule.scales, low, high),
            usual=_restored(rule.scales, np.maximum(low, -REMEMBERED), np.minimum(high, REMEMBERED)),
        )

    def unsettled(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which vectors have a number that needs a closer look; a missing one needs none. Shape [n, m] -> [n]."""
        return _outside(values, self.settled)

    def unusual(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Those, and which have a number that may be too far off to be shown to the network. Shape [n, m] -> [n]."""
        return _outside(values, self.usual)


def _outside(values: NDArray[np.float64], bounds: NDArray[np.float64]) -> NDArray[np.bool_]:
    found = np.zeros(len(values), np.bool_)
    for column, low, high in zip(values.T, *bounds.tolist(), strict=True):  # faster than along the short axis
        found |= (column < low) | (column > high)
    return found


def _answers(weights: Weights, network: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The lowest and highest answers that a network can give at its first positions. Shapes [width]."""
    middle = weights["output_bias"][network, 0, :width].numpy().astype(np.float64)
    reach = np.abs(weights["output"][network, :, :width].numpy().astype(np.float64)).sum(axis=0)
    reach += _ROUNDING * (1.0 + reach + np.abs(middle))
    return middle - reach, middle + reach


def _reach(rule: KeyRule, outlook: Outlook, p_value: float) -> NDArray[np.float64]:
    """Errors between which a number certainly has at least this p-value. Shape [2, m].

    On a log scale the slack, which only makes errors smaller, depends on the number: it is left to the closer look.
    """
    slack: Sequence[float] = [
        0.0 if scale.is_log else scale.slack / scale.deviation * (1.0 - 1e-9) for scale in rule.scales
    ]
    intervals = np.transpose([errors.interval(p_value) for errors in outlook.errors])
    return intervals + np.array([-1.0, 1.0])[:, None] * slack


def _restored(scales: Sequence[Scale], low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intervals on scales as numbers certainly inside, see :attr:`Reach.settled`. Shapes [m], [m] -> [2, m]."""
    bounds = zip(scales, low.tolist(), high.tolist(), strict=True)
    return np.transpose([_restored_one(scale, least, most) for scale, least, most in bounds])


def _restored_one(scale: Scale, low: float, high: float) -> tuple[float, float]:
    inside = low + _ROUNDING * (1.0 + abs(low)), high - _ROUNDING * (1.0 + abs(high))
    found = scale.restore(inside[0]), scale.restore(inside[1])
    # Numbers may be coarser than a scale is fine: then nothing is certain.
    placed = scale.normalise(np.array(found))
    return found if inside[0] <= inside[1] and low < placed[0] and placed[1] < high else (np.inf, -np.inf)
