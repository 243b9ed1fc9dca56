"""Adam on all weights of a network as one vector.

A step is half a dozen operations, whatever the number of tensors: those of torch are one set a tensor, a tenth of the
time of a training step of networks as small as these, and to load them takes a second or two.
"""

from collections.abc import Sequence
from math import cos, pi

import torch
from torch import nn

EPSILON = 1e-8
SECOND_MOMENT = 0.999

WARM_UP = 0.3
"""Share of the steps in which the one-cycle learning rate rises."""
START, FINAL = 1 / 25, 1e-4 / 25
"""Of the peak, where the one-cycle learning rate starts and where it ends."""
MOMENTUM, LEAST_MOMENTUM = 0.95, 0.85
"""Where the one-cycle momentum starts and ends, and where it is when the learning rate is at its peak."""


class Adam:
    """Moves weights against their gradients (Kingma and Ba, 2015).

    The tensors of the weights and of their gradients become views of two vectors; they stay the parameters' own.

    Examples
    --------
    >>> weight = nn.Parameter(torch.tensor([3.0]))
    >>> adam = Adam([weight])
    >>> for _ in range(100):
    ...     adam.zero_gradient()
    ...     torch.autograd.backward((weight**2).sum())
    ...     adam.step(0.1)
    >>> abs(weight.item()) < 0.5
    True
    """

    def __init__(self, weights: Sequence[nn.Parameter]) -> None:
        self._weights = torch.cat([weight.detach().ravel() for weight in weights])
        self.gradient = torch.zeros_like(self._weights)
        """Of all weights. Shape [numbers]."""
        self._mean, self._square = torch.zeros_like(self._weights), torch.zeros_like(self._weights)
        self._mean_share = self._square_share = 0.0  # what of the moments has been seen so far, of 1
        sizes = [weight.numel() for weight in weights]
        parts = zip(weights, torch.split(self._weights, sizes), torch.split(self.gradient, sizes), strict=True)
        for weight, own, gradient in parts:
            weight.data, weight.grad = own.view_as(weight), gradient.view_as(weight)

    def zero_gradient(self) -> None:
        """Forget the gradient; the next backward pass adds to it."""
        self.gradient.zero_()

    def clip_norm(self, limit: float) -> None:
        """Shorten the gradient to this length at most."""
        self.gradient.mul_((limit / (self.gradient.norm() + 1e-6)).clamp(max=1.0))

    def clip_values(self, limit: float) -> None:
        """Cut each number of the gradient to this size."""
        self.gradient.clamp_(-limit, limit)

    def step(self, learning_rate: float, momentum: float = 0.9) -> None:
        """Move the weights.

        Parameters
        ----------
        momentum : float
            Share of the earlier gradients in their running mean.
        """
        self._mean.lerp_(self.gradient, 1.0 - momentum)
        self._square.mul_(SECOND_MOMENT).addcmul_(self.gradient, self.gradient, value=1.0 - SECOND_MOMENT)
        self._mean_share = momentum * self._mean_share + (1.0 - momentum)
        self._square_share = SECOND_MOMENT * self._square_share + (1.0 - SECOND_MOMENT)
        scale = self._square.sqrt().div_(self._square_share**0.5).add_(EPSILON)
        self._weights.addcdiv_(self._mean, scale, value=-learning_rate / self._mean_share)


def one_cycle(step: int, steps: int) -> tuple[float, float]:
    """Learning rate, as a share of its peak, and momentum of one step of a training (Smith and Topin, 2017).

    Parameters
    ----------
    step : int
        Of ``range(steps)``.

    Examples
    --------
    >>> [(round(rate, 3), round(momentum, 3)) for rate, momentum in (one_cycle(step, 101) for step in (0, 30, 100))]
    [(0.04, 0.95), (1.0, 0.85), (0.0, 0.95)]
    """
    place, peak = step / max(1, steps - 1), WARM_UP
    if place <= peak:
        turned = _half_wave(place / peak)
        return START + (1.0 - START) * turned, MOMENTUM + (LEAST_MOMENTUM - MOMENTUM) * turned
    turned = _half_wave((place - peak) / (1.0 - peak))
    return 1.0 + (FINAL - 1.0) * turned, LEAST_MOMENTUM + (MOMENTUM - LEAST_MOMENTUM) * turned


def _half_wave(share: float) -> float:
    """From 0 to 1, slowly at both ends."""
    return (1.0 - cos(pi * share)) / 2
