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
from math import inf, isfinite

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

ANCHOR_WEIGHT = 20.0
"""Nats of difference at the anchors against nats that the lessons lack: forgetting costs more than one more step."""

LESSONS = 64
"""Lessons of a step at most."""

STEP = 0.1
"""Length of the first step through the weights: some ten make a log key usual, as a rule."""
STEPS_HALVED = 20
"""Steps after which they are half as long: lessons that pull against each other are not stepped over for ever."""

MAX_STEPS = 150
SETTLED_NATS = 0.02
SETTLING_STEPS = 10
"""Once the lessons are learned, so many more steps bring what was known back to where it was, if it is further off."""

RARE_NATS = 7.0
"""-ln(probability) at which a new log key begins where any is usual: one in a thousand, which takes nothing from the
others, and with a pinned g is a place behind all that are likely."""

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
    margins: NDArray[np.float64]
    """Nats inside the limit at which steps stop. Shape [n]."""

    def __len__(self) -> int:
        return len(self.units)

    def joined(self, other: "KeyLessons") -> "KeyLessons":
        """These, and then others."""
        return KeyLessons(
            windows=np.concatenate([self.windows, other.windows]),
            units=np.concatenate([self.units, other.units]),
            nats=np.concatenate([self.nats, other.nats]),
            ranks=np.concatenate([self.ranks, other.ranks]),
            margins=np.concatenate([self.margins, other.margins]),
        )

    def rows(self, rows: NDArray[np.intp]) -> "KeyLessons":
        """Some of them."""
        return KeyLessons(
            windows=self.windows[rows],
            units=self.units[rows],
            nats=self.nats[rows],
            ranks=self.ranks[rows],
            margins=self.margins[rows],
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
        -ln(probability) that is usual in any place; infinite = all is, and what decides instead has to be learned.
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
    bias = _usual_bias(model, windows) - (usual_nats - MARGIN if usual_nats < inf else RARE_NATS)
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
    every = lessons.joined(known)
    active = lessons.rows(_lacking(model, lessons, within=True))
    if not len(active):
        return KeyLearning(model=model, steps=0, lacking=0)
    update = _Update(model, np.concatenate([anchors, known.windows]), seed, pause)
    while True:
        update.run(active)
        learned = update.model()
        lacking = _lacking(learned, every, within=False)
        if not len(lacking) or update.steps >= MAX_STEPS:
            return KeyLearning(model=learned, steps=update.steps, lacking=len(lacking))
        active = active.joined(every.rows(lacking))  # what was pushed out, or left out among many lessons


class _Update:
    """A private copy of a network, being trained."""

    def __init__(self, model: LogKeyModel, anchors: NDArray[np.int64], seed: int, pause: Callable[[], None]) -> None:
        self._model = model
        self._pause = pause
        self._teacher, self._network = model.copy_of_network(), model.copy_of_network()
        self._mask = predictable(model.vocabulary, begin_end=model.config.begin_end)
        self._anchors = torch.from_numpy(anchors)
        self._generator = torch.Generator().manual_seed(seed)
        self._weights = list(self._network.parameters())
        self.steps = 0

    def run(self, lessons: KeyLessons) -> None:
        """Step until nothing is lacking and the rest has settled, or there were steps enough."""
        self._network.train()
        settling = 0
        while self.steps < MAX_STEPS:
            lack, drift = self._lack(lessons), self._drift()
            if not isfinite(float((lack.sum() + ANCHOR_WEIGHT * drift).detach())):
                raise ValueError("the loss of the update is not a finite number")
            lacking = int((lack > 0).sum())
            if not lacking:
                if settling == SETTLING_STEPS or float(drift.detach()) <= SETTLED_NATS:
                    return
                settling += 1
            self._pause()
            # What is lacking for long weighs more: anchors beside it must not hold it back for ever.
            weight = (1 + self.steps / STEPS_HALVED) / max(1, lacking)
            self._step(weight * lack.sum() + ANCHOR_WEIGHT * drift)
            self.steps += 1

    def _step(self, loss: Tensor) -> None:
        """Go a fixed way down the gradient, the shortest way to what is lacking.

        Adam moves every weight by as much as every other, whether it matters or not: its first step made up to all of
        HDFS's known-normal sessions abnormal, where this one makes none or one of 1,700.
        """
        gradients = torch.autograd.grad(loss, self._weights)
        length = float(torch.sqrt(sum((g.square().sum() for g in gradients), torch.zeros(()))))
        step = STEP / (1 + self.steps / STEPS_HALVED)
        with torch.no_grad():
            for weight, gradient in zip(self._weights, gradients, strict=True):
                weight.sub_(gradient, alpha=step / max(length, 1e-12))

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
        return _lack(logits, lessons)

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


def _lack(logits: Tensor, lessons: KeyLessons) -> Tensor:
    margins = torch.from_numpy(lessons.margins).float()
    units = torch.from_numpy(lessons.units)[:, None]
    nats = -torch.log_softmax(logits, dim=1).gather(1, units)[:, 0]
    lack = torch.relu(nats - torch.from_numpy(lessons.nats).float() + margins)
    ranked = torch.from_numpy(lessons.ranks)
    if bool((ranked > 0).any()):
        keys = logits.scatter(1, units, -inf)[:, FIRST_KEY_UNIT:]
        places = torch.clamp(ranked, 1, keys.shape[1])
        # One that is above the g-th of the others has a place of g or better.
        least = keys.sort(dim=1, descending=True).values.gather(1, places[:, None] - 1)[:, 0].detach()
        short = torch.relu(least - logits.gather(1, units)[:, 0] + margins)
        lack = lack + torch.where(ranked > 0, short, 0.0)
    return lack


def _lacking(model: LogKeyModel, lessons: KeyLessons, *, within: bool) -> NDArray[np.intp]:
    """Rows that are not learned."""
    if not len(lessons):
        return np.zeros(0, np.intp)
    own, places = model.place(model.read(lessons.windows), lessons.units)
    # What is not a number is not learned either.
    return np.flatnonzero(
        ~(-own <= lessons.nats - within * lessons.margins) | ((lessons.ranks > 0) & (places > lessons.ranks))
    )
