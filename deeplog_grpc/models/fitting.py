"""Training of the log key model. Pure: no files, no clock; progress goes to a callback."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deeplog_grpc.models.adam import Adam, one_cycle
from deeplog_grpc.models.key_config import KeyModelConfig
from deeplog_grpc.models.key_model import KeyNetwork, LogKeyModel, predictable
from deeplog_grpc.models.semantics import initial_embeddings
from deeplog_grpc.models.vocabulary import FIRST_KEY_UNIT, UNSEEN, Vocabulary
from deeplog_grpc.models.windows import TrainingSession, WindowCounts, count_windows

GRADIENT_NORM = 1.0
"""Gradients are clipped to this norm: a window that occurs 10,000 times must not throw the weights about."""

MIN_EPOCH_STEPS = 14
"""Gradient steps of an epoch at least: a small application with 100 distinct windows needs as many steps to learn
them as a large one needs; its windows are passed over several times an epoch."""

VALIDATION_ROWS = 4096
"""Windows of one validation pass: bounds its memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """How training stands after one pass."""

    number: int
    """1-based."""
    epochs: int
    """Most passes that there can be."""
    loss: float
    """Mean cross-entropy of the training windows, in nats."""
    validation_loss: float
    """The same of the windows kept back."""
    accuracy: float
    """Share of the kept-back windows' next keys that are among the g candidates."""
    best: bool
    """Whether this pass has the lowest validation loss so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A trained model and how it came about."""

    model: LogKeyModel
    epochs: tuple[Epoch, ...]
    windows: int
    """Training windows, repeats counted."""
    distinct_windows: int
    validation_sessions: int


def fit_key_model(
    sessions: Sequence[TrainingSession],
    config: KeyModelConfig,
    *,
    vocabulary: Vocabulary | None = None,
    templates: Mapping[int, Sequence[str]] | None = None,
    seed: int = 0,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> Fit:
    """Train a log key model on normal sessions.

    Sessions are split into a training and a validation part; windows are de-duplicated and weighted by their counts;
    the weights of the pass with the lowest validation loss are kept.

    Parameters
    ----------
    sessions : sequence of TrainingSession
        Normal sessions; the order does not matter to what is learned, but with the seed it fixes the split.
    vocabulary : Vocabulary, optional
        The log keys to know; None = those normal in the sessions (:func:`normal_keys`).
    templates : mapping, optional
        Log key -> constant pieces of its template. With ``config.semantic``, embeddings start from them.
    seed : int
        The same seed and sessions give the same weights on one machine.
    on_epoch : callable
        Called after each pass.

    Raises
    ------
    ValueError
        If the sessions hold no window to learn from.
    """
    if vocabulary is None:
        vocabulary = Vocabulary.of(normal_keys(sessions, config.min_sessions), reserve=config.reserve)
    kept_back = _kept_back(len(sessions), config.validation_share, seed)
    training = _windows([s for s, kept in zip(sessions, kept_back, strict=True) if not kept], vocabulary, config)
    validation_sessions = [s for s, kept in zip(sessions, kept_back, strict=True) if kept]
    validation = _windows(validation_sessions, vocabulary, config)
    if len(training) == 0:
        raise ValueError(
            f"no window to learn from: {len(sessions)} sessions or blocks of streams, none "
            f"{'with a known begin or ' if config.begin_end else ''}longer than {config.history} entries"
        )
    generator = torch.Generator().manual_seed(seed)  # of its own: trainings may run side by side
    network = KeyNetwork(vocabulary.size, config)
    network.start(generator)
    if config.semantic and templates is not None:
        network.start_embeddings(initial_embeddings(vocabulary, templates, width=config.embedding, seed=seed))
    held_out = validation if len(validation) else training
    network, epochs = _train(network, training, held_out, vocabulary, config, generator, on_epoch)
    if not all(isfinite(epoch.validation_loss) for epoch in epochs):
        raise ValueError("training diverged: its loss is not a finite number; lower key_model.learning_rate")
    return Fit(
        model=LogKeyModel(config, vocabulary, network),
        epochs=epochs,
        windows=training.total,
        distinct_windows=len(training),
        validation_sessions=len(validation_sessions),
    )


def normal_keys(sessions: Sequence[TrainingSession], min_sessions: int) -> list[int]:
    """Log keys that occur in enough sessions to be learned as normal.

    Parameters
    ----------
    min_sessions : int
        Sessions, >= 1; where one in a thousand sessions is fewer, that many are enough.

    Examples
    --------
    >>> common, rare = TrainingSession(keys=[1, 2]), TrainingSession(keys=[1, 2, 3])
    >>> normal_keys([common] * 2000 + [rare], min_sessions=5), normal_keys([common, rare], min_sessions=5)
    ([1, 2], [1, 2, 3])
    """
    needed = needed_sessions(len(sessions), min_sessions)
    support = Counter(key for session in sessions for key in np.unique(np.asarray(session.keys)).tolist())
    return [key for key, count in support.items() if count >= needed]


def needed_sessions(sessions: int, min_sessions: int) -> int:
    """Sessions that must have a thing for it to be normal."""
    return min(min_sessions, -(-sessions // 1000))


def _kept_back(count: int, share: float, seed: int) -> NDArray[np.bool_]:
    """Which sessions are for validation. With one session there is none to spare. Shape [count]."""
    kept = np.zeros(count, np.bool_)
    wanted = min(max(1, round(count * share)), count - 1)
    kept[np.random.default_rng(seed).permutation(count)[:wanted]] = True
    return kept


def _windows(sessions: Sequence[TrainingSession], vocabulary: Vocabulary, config: KeyModelConfig) -> WindowCounts:
    return count_windows(
        vocabulary.units_of_all([session.keys for session in sessions]),
        begins=(session.begins and config.begin_end for session in sessions),
        ends=(session.ends and config.begin_end for session in sessions),
        history=config.history,
    )


def _train(
    network: KeyNetwork,
    training: WindowCounts,
    validation: WindowCounts,
    vocabulary: Vocabulary,
    config: KeyModelConfig,
    generator: torch.Generator,
    on_epoch: Callable[[Epoch], None],
) -> tuple[KeyNetwork, tuple[Epoch, ...]]:
    mask = predictable(vocabulary, begin_end=config.begin_end)
    windows, targets = torch.from_numpy(training.windows), torch.from_numpy(training.targets)
    weights = torch.from_numpy(training.counts / training.counts.mean()).float()
    passes = -(-MIN_EPOCH_STEPS // _steps(training, config))
    steps = config.epochs * passes * _steps(training, config)
    adam, step = Adam(list(network.parameters())), 0
    best_state = network.state_dict()
    epochs: list[Epoch] = []
    while len(epochs) < config.epochs and not _stalled(epochs, config.patience):
        network.train()
        total = 0.0
        for rows in _batches(len(training), passes, config.batch_rows, generator):
            logits = network(_hide(windows[rows], config, generator)) + mask
            losses = nn.functional.cross_entropy(logits, targets[rows], reduction="none") * weights[rows]
            adam.zero_gradient()
            torch.autograd.backward(losses.mean())
            adam.clip_norm(GRADIENT_NORM)
            rate, momentum = one_cycle(step, steps)
            adam.step(rate * config.learning_rate, momentum)
            step += 1
            total += float(losses.detach().sum())
        validation_loss, accuracy = _validate(network, mask, validation, config.shown)
        best = all(validation_loss < epoch.validation_loss for epoch in epochs)
        if best:
            best_state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        epochs.append(
            Epoch(
                number=len(epochs) + 1,
                epochs=config.epochs,
                loss=total / (passes * len(training)),
                validation_loss=validation_loss,
                accuracy=accuracy,
                best=best,
            )
        )
        on_epoch(epochs[-1])
    network.load_state_dict(best_state)
    return network, tuple(epochs)


def _steps(training: WindowCounts, config: KeyModelConfig) -> int:
    """Gradient steps of one pass."""
    return -(-len(training) // config.batch_rows)


def _batches(count: int, passes: int, rows: int, generator: torch.Generator) -> list[Tensor]:
    """Shuffled row numbers of ``passes`` passes, in batches."""
    return [batch for _ in range(passes) for batch in torch.split(torch.randperm(count, generator=generator), rows)]


def _stalled(epochs: Sequence[Epoch], patience: int) -> bool:
    return len(epochs) > patience and not any(epoch.best for epoch in epochs[-patience:])


def _hide(windows: Tensor, config: KeyModelConfig, generator: torch.Generator) -> Tensor:
    """Training windows with their oldest keys hidden in some rows, and single keys hidden here and there."""
    rows, history = windows.shape
    is_short = torch.rand(rows, 1, generator=generator) < config.shorten_share
    hidden_prefix = torch.randint(1, history + 1, (rows, 1), generator=generator) * is_short
    hidden = torch.arange(history)[None, :] < hidden_prefix
    hidden |= (torch.rand(windows.shape, generator=generator) < config.hide_share) & (windows >= FIRST_KEY_UNIT)
    return torch.where(hidden, UNSEEN, windows)


def _validate(network: KeyNetwork, mask: Tensor, pairs: WindowCounts, candidates: int) -> tuple[float, float]:
    """Mean cross-entropy, and share of next units among the candidates, both weighted by counts."""
    network.eval()
    counts = torch.from_numpy(pairs.counts).double()
    loss = hits = 0.0
    with torch.inference_mode():
        for rows in torch.split(torch.arange(len(pairs)), VALIDATION_ROWS):
            targets = torch.from_numpy(pairs.targets)[rows]
            logits = network(torch.from_numpy(pairs.windows)[rows]) + mask
            loss += float((nn.functional.cross_entropy(logits, targets, reduction="none") * counts[rows]).sum())
            own = logits.gather(1, targets[:, None])
            hits += float((((logits > own).sum(dim=1) < candidates) * counts[rows]).sum())
    return loss / pairs.total, hits / pairs.total
