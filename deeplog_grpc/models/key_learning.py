"""Online update of the log key model (CCS'17, section 3.4): a few gradient steps until a log key is usual in its place.

The paper trains on the pair (window, log key) and leaves open how long, how fast, and what keeps the rest from being
forgotten. Here: only as long as the pair is not yet usual, with a margin; and every step is also held to what the model
said before, on windows of training, of earlier lessons and of confirmed anomalies (learning without forgetting [1]_).
Where nothing has to change, that second part has no gradient at all.

References
----------
.. [1] Z. Li, D. Hoiem, "Learning without Forgetting", ECCV 2016: distillation from the old model as the anchor.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeplog_grpc.models.key_model import LogKeyModel, predictable
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT, UNSEEN, Vocabulary

MARGIN = 0.5
"""Nats inside the limit at which a lesson is learned: the next update may move it a little."""

ANCHORS = 192
"""Windows of a step at which the model is held to what it said before."""

ANCHOR_WEIGHT = 10.0
"""Nats of difference at the anchors against nats that the lessons lack: forgetting costs more than one more step."""

LESSONS = 64
"""Lessons of a step at most."""

LEARNING_RATE = 2e-3
MAX_STEPS = 150
ROUNDS = 4
"""How often what an update pushed out, or left out among many lessons, is taken up in it."""

GRADIENT_NORM = 1.0
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8

BIAS_QUANTILE = 0.99
"""A new log key begins as usual after this share of training's windows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLessons:
    """Units that must be usual after their windows."""

    windows: NDArray[np.int64]
    """Shape [n, h]."""
    units: NDArray[np.int64]
    """Log keys, or END. Shape [n]."""
    nats: NDArray[np.float64]
    """The largest -ln(probability) that is usual; infinite = any. Shape [n]."""
    ranks: NDArray[np.int64]
    """The lowest place among the predictions that is usual; 0 = any. Shape [n]."""

    def __len__(self) -> int:
        return len(self.units)

    def rows(self, rows: NDArray[np.intp]) -> "KeyLessons":
        """Some of them."""
        return KeyLessons(
            windows=self.windows[rows], units=self.units[rows], nats=self.nats[rows], ranks=self.ranks[rows]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLearning:
    """What an update came to."""

    model: LogKeyModel
    steps: int
    """Gradient steps."""
    lacking: int
    """Lessons that are not learned after all of them."""


def with_new_keys(
    model: LogKeyModel, keys: Sequence[int], windows: NDArray[np.int64], *, usual_nats: float
) -> LogKeyModel:
    """Give units to log keys that are normal from now on.

    What follows a new log key is predicted as after an unseen one, as it was until now. The network holds it usual in
    any place: one place does not tell of others, and the profile says where it may come.

    Parameters
    ----------
    keys : sequence of int
        Log keys; those that have a unit are passed over.
    windows : int64 array [n, h]
        Of training: where a log key may come.
    usual_nats : float
        -ln(probability) that is usual in any place; infinite = all is.
    """
    known = set(model.vocabulary.keys)
    fresh = [key for key in dict.fromkeys(keys) if key not in known]
    if not fresh:
        return model
    old = model.vocabulary
    reserve = old.size - old.assigned - len(fresh)
    # When the reserve is used up the network grows, by as much again as a training keeps free.
    size = old.size if reserve >= 0 else old.assigned + len(fresh) + max(model.config.reserve, len(fresh))
    vocabulary = Vocabulary(keys=(*old.keys, *fresh), size=size)
    weights = _resized(model, size)
    new = slice(old.assigned, vocabulary.assigned)
    weights["embedding.weight"][new] = weights["embedding.weight"][UNSEEN]
    weights["output.weight"][new] = 0.0
    bias = _usual_bias(model, windows) - (usual_nats - MARGIN if usual_nats < inf else 0.0)
    weights["output.bias"][new] = bias
    return LogKeyModel.from_weights(model.config, vocabulary, weights)


def _resized(model: LogKeyModel, size: int) -> dict[str, Tensor]:
    """A copy of the weights, with rows for more units."""
    weights = {name: tensor.clone() for name, tensor in model.weights().items()}
    for name in ("embedding.weight", "output.weight", "output.bias"):
        more = size - len(weights[name])
        weights[name] = torch.cat([weights[name], weights[name].new_zeros((more, *weights[name].shape[1:]))])
    return weights


def _usual_bias(model: LogKeyModel, windows: NDArray[np.int64]) -> float:
    """Logit of a unit that has a probability of one half at least nearly everywhere."""
    if not len(windows):
        return 0.0
    network, mask = model.copy_of_network(), predictable(model.vocabulary, begin_end=model.config.begin_end)
    with torch.inference_mode():
        totals = torch.logsumexp(network(torch.from_numpy(windows)) + mask, dim=1)
    return float(torch.quantile(totals, BIAS_QUANTILE))


def learn_keys(
    model: LogKeyModel,
    lessons: KeyLessons,
    *,
    known: KeyLessons,
    anchors: NDArray[np.int64],
    seed: int,
    pause: Callable[[], None] = lambda: None,
) -> KeyLearning:
    """Make log keys usual in their places.

    Parameters
    ----------
    lessons : KeyLessons
        What is to be learned.
    known : KeyLessons
        Earlier lessons: they are looked after, and learned again where the new ones push them out.
    anchors : int64 array [n, h]
        Windows at which nothing is to change: of training, and of confirmed anomalies.
    seed : int
        The same seed and arguments give the same weights on one machine.
    pause : callable
        Called before each gradient step: who has something more urgent to do may take the time.
    """
    every = _joined(lessons, known)
    active = lessons.rows(_lacking(model, lessons, margin=MARGIN))
    if not len(active):
        return KeyLearning(model=model, steps=0, lacking=0)
    update = _Update(model, np.concatenate([anchors, known.windows]), seed, pause)
    learned, lacking = model, _lacking(model, every, margin=0.0)
    for _ in range(ROUNDS):
        update.run(active)
        learned = update.model()
        lacking = _lacking(learned, every, margin=0.0)
        if not len(lacking):
            break
        active = _joined(active, every.rows(lacking))
    return KeyLearning(model=learned, steps=update.steps, lacking=len(lacking))


class Adam:
    """The optimiser of that name, step by step as in torch.

    The one of torch loads its compiler at first use: 1 to 2 s in which no other thread gets to do anything, and 100 MB.

    Parameters
    ----------
    parameters : sequence of Tensor
    learning_rate : float
    """

    def __init__(self, parameters: Sequence[Tensor], *, learning_rate: float) -> None:
        self._parameters = parameters
        self._learning_rate = learning_rate
        self._means = [torch.zeros_like(parameter) for parameter in parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = 0

    def step(self) -> None:
        """Move the parameters against their gradients; those without one stay."""
        self._steps += 1
        first, second = 1 - _BETAS[0] ** self._steps, 1 - _BETAS[1] ** self._steps
        with torch.no_grad():
            for parameter, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
                if (gradient := parameter.grad) is None:
                    continue
                mean.lerp_(gradient, 1 - _BETAS[0])
                square.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
                scale = (square.sqrt() / sqrt(second)).add_(_EPSILON)
                parameter.addcdiv_(mean, scale, value=-self._learning_rate / first)


class _Update:
    """A private copy of a network, being trained."""

    def __init__(self, model: LogKeyModel, anchors: NDArray[np.int64], seed: int, pause: Callable[[], None]) -> None:
        self._model = model
        self._pause = pause
        self._teacher, self._network = model.copy_of_network(), model.copy_of_network()
        self._mask = predictable(model.vocabulary, begin_end=model.config.begin_end)
        self._anchors = torch.from_numpy(anchors)
        self._generator = torch.Generator().manual_seed(seed)
        self._optimizer = Adam(list(self._network.parameters()), learning_rate=LEARNING_RATE)
        self.steps = 0

    def run(self, lessons: KeyLessons) -> None:
        """Step until nothing is lacking, or there were steps enough."""
        self._network.train()
        while self.steps < MAX_STEPS:
            lack = self._lack(lessons)
            if float(lack.detach().max()) <= 0.0:
                return
            loss = lack.mean() + ANCHOR_WEIGHT * self._drift()
            if not isfinite(float(loss.detach())):
                raise ValueError("the loss of the update is not a finite number")
            self._pause()
            self._network.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(self._network.parameters(), GRADIENT_NORM)
            self._optimizer.step()
            self.steps += 1

    def model(self) -> LogKeyModel:
        """What has been learned so far."""
        return LogKeyModel.from_weights(
            self._model.config,
            self._model.vocabulary,
            {name: tensor.clone() for name, tensor in self._network.state_dict().items()},
        )

    def _lack(self, lessons: KeyLessons) -> Tensor:
        """Nats by which lessons are too improbable, with the margin; 0 where learned. Shape [<= LESSONS]."""
        if len(lessons) > LESSONS:
            chosen = torch.randperm(len(lessons), generator=self._generator)[:LESSONS].numpy()
            lessons = lessons.rows(chosen)
        logits = self._network(torch.from_numpy(lessons.windows)) + self._mask
        return _lack(logits, lessons, margin=MARGIN)

    def _drift(self) -> Tensor:
        """Mean Kullback-Leibler divergence from what the model said before, in nats."""
        if not len(self._anchors):
            return torch.zeros(())
        chosen = torch.randint(len(self._anchors), (ANCHORS,), generator=self._generator)
        windows = self._anchors[chosen]
        with torch.no_grad():
            before = torch.log_softmax(self._teacher(windows) + self._mask, dim=1)
        after = torch.log_softmax(self._network(windows) + self._mask, dim=1)
        return nn.functional.kl_div(after, before, reduction="batchmean", log_target=True)


def _lack(logits: Tensor, lessons: KeyLessons, *, margin: float) -> Tensor:
    units = torch.from_numpy(lessons.units)[:, None]
    nats = -torch.log_softmax(logits, dim=1).gather(1, units)[:, 0]
    lack = torch.relu(nats - torch.from_numpy(lessons.nats).float() + margin)
    ranked = torch.from_numpy(lessons.ranks)
    if bool((ranked > 0).any()):
        keys = logits[:, FIRST_KEY_UNIT:]
        places = torch.clamp(ranked, 1, keys.shape[1])
        # One that is above the key of place g has a place of g or better.
        least = keys.sort(dim=1, descending=True).values.gather(1, places[:, None] - 1)[:, 0].detach()
        short = torch.relu(least - logits.gather(1, units)[:, 0] + margin)
        lack = lack + torch.where(ranked > 0, short, 0.0)
    return lack


def _lacking(model: LogKeyModel, lessons: KeyLessons, *, margin: float) -> NDArray[np.intp]:
    """Rows that are not learned."""
    if not len(lessons):
        return np.zeros(0, np.intp)
    predictions = model.predict(lessons.windows)
    own = np.array([p.log_probabilities[unit] for p, unit in zip(predictions, lessons.units.tolist(), strict=True)])
    places = np.array([p.ranks[unit] for p, unit in zip(predictions, lessons.units.tolist(), strict=True)])
    return np.flatnonzero((-own > lessons.nats - margin) | ((lessons.ranks > 0) & (places > lessons.ranks)))


def _joined(first: KeyLessons, second: KeyLessons) -> KeyLessons:
    return KeyLessons(
        windows=np.concatenate([first.windows, second.windows]),
        units=np.concatenate([first.units, second.units]),
        nats=np.concatenate([first.nats, second.nats]),
        ranks=np.concatenate([first.ranks, second.ranks]),
    )
