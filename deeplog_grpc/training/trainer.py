"""From entries to a trained application: parse, cut into sessions, fit."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from math import log
from typing import Any

import numpy as np

from deeplog_grpc.detection import ApplicationModel, EntryBatch, SessionConfig
from deeplog_grpc.detection.identifiers import compile_patterns, identify, last_entries, session_patterns
from deeplog_grpc.errors import InputError
from deeplog_grpc.models import (
    BehaviourFit,
    Epoch,
    KeyModelConfig,
    ThresholdConfig,
    ValueEpoch,
    ValueModelConfig,
    fit_behaviour,
)
from deeplog_grpc.parsing import Parser, ParserConfig
from deeplog_grpc.training.history import History, SessionCut
from deeplog_grpc.training.learned_keys import LearnedKey, learned_keys
from deeplog_grpc.training.parts import part_patterns, requests_of
from deeplog_grpc.training.value_learning import LearnedValues, fit_values
from deeplog_grpc.training.values import ValueCollector
from deeplog_grpc.training.workflows import WorkflowReport, fit_with_workflow, report_of
from deeplog_grpc.workflow import WorkflowConfig

MAX_RATE = 0.5
"""Of `thresholds.false_positive_rate`."""

_HISTORY = "history_"
_VALUES = "values_"
"""They begin the names of the parts of a history, and of collected values, in a trainer's state."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What training saw and reached; stored in the bundle, shown to people."""

    entries: int
    sessions: int
    stream_blocks: int
    """Blocks of entries that belong to no session but to their source's stream."""
    open_at_end: int
    """Sessions still running where the log stops."""
    templates: int
    windows: int
    distinct_windows: int
    epochs: int
    validation_loss: float
    """Mean cross-entropy of the next key in held-back sessions, in nats."""
    accuracy: float
    """Share of next keys in held-back sessions that are among the g candidates."""
    timeout_s: float
    seed: int
    false_positive_rate: float
    """Share of normal sessions that may be flagged by mistake; the thresholds were set for it."""
    calibration_sessions: int
    """Sessions that set the thresholds, each scored by models that had not learned from it; 0 = nothing calibrated."""
    sessions_per_day: float
    """Sessions and blocks of streams a day in this log; 0 where no time tells."""
    conservative: bool
    """Whether they are so few that thresholds rest on a widened fit: fewer false alarms, more misses."""
    limits: dict[str, float | None]
    """Score, in nats, above which each detector calls something abnormal; None = never."""
    set_aside: int
    """Sessions that were not learned as normal: suspect, or with a log key too rare to be normal."""
    count_vectors: int
    """Distinct counts of log keys that sessions are compared to."""
    values_set_aside: int
    """Sessions whose values are so odd that they did not set a threshold."""
    value_networks: int
    """Log keys whose values an LSTM predicts."""
    keys: tuple[LearnedKey, ...]
    """What was learned of each log key, the most frequent first."""
    workflow: WorkflowReport
    """The workflow that was built."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Trainer:
    """Learns an application's normal behaviour from its log entries.

    Feed it with :meth:`add`, in the order of the log, then call :meth:`fit`.

    Raises
    ------
    ConfigError
        If a pattern of the session configuration is not a regular expression.
    """

    def __init__(
        self,
        *,
        parser: ParserConfig | None = None,
        sessions: SessionConfig | None = None,
        values: ValueModelConfig | None = None,
    ) -> None:
        self._parser = Parser(parser or ParserConfig())
        self._sessions = sessions or SessionConfig()
        self._patterns = session_patterns(self._sessions.patterns, built_in=self._sessions.built_in)
        self._end_patterns = compile_patterns(self._sessions.end_patterns, field="sessions.end_patterns")
        self._part_patterns = part_patterns(self._sessions)
        self._history = History()
        self._value_config = values or ValueModelConfig()
        self._values = ValueCollector(max_vectors=self._value_config.max_vectors)

    @property
    def entries(self) -> int:
        """Entries added so far."""
        return len(self._history)

    @property
    def templates(self) -> int:
        """Log keys found so far."""
        return len(self._parser)

    def add(self, batch: EntryBatch) -> None:
        """Parse entries and put them to their sessions."""
        parsed = self._parser.parse(batch.bodies)
        sessions = identify(batch.bodies, batch.sessions, batch.sources, self._patterns)
        lasts = last_entries(batch.bodies, self._end_patterns)
        requests = requests_of(batch.bodies, sessions, self._part_patterns)
        self._history.extend(parsed.keys, sessions, batch.times_ns, lasts=lasts, requests=requests)
        self._values.add(parsed)

    def state(self) -> dict[str, Any]:
        """All that was added, as named parts: numpy arrays of one dimension, or plain data for JSON.

        The arrays are views: let them go before more is added.
        """
        history = {f"{_HISTORY}{name}": part for name, part in self._history.state().items()}
        values = {f"{_VALUES}{name}": part for name, part in self._values.state().items()}
        return {"parser": self._parser.state(), **history, **values}

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        *,
        sessions: SessionConfig | None = None,
        values: ValueModelConfig | None = None,
    ) -> "Trainer":
        """Go on from a :meth:`state` as if nothing had happened.

        Raises
        ------
        ValueError, KeyError
            If a part is missing, malformed, or does not fit the others.
        """
        trainer = cls(sessions=sessions, values=values)
        trainer._parser = Parser.from_state(state["parser"])
        trainer._history = History.from_state(_parts(state, _HISTORY))
        trainer._values = ValueCollector.from_state(
            _parts(state, _VALUES), max_vectors=trainer._value_config.max_vectors
        )
        return trainer

    def fit(
        self,
        *,
        application: str,
        version: int,
        config: KeyModelConfig | None = None,
        thresholds: ThresholdConfig | None = None,
        workflow: WorkflowConfig | None = None,
        seed: int = 0,
        threads: int = 1,
        on_epoch: Callable[[Epoch], None] = lambda epoch: None,
        on_value_epoch: Callable[[ValueEpoch], None] = lambda epoch: None,
        on_fold: Callable[[int, int], None] = lambda done, folds: None,
    ) -> tuple[ApplicationModel, TrainingReport]:
        """Train the models on all that was added; the trainer is used up by it.

        Parameters
        ----------
        threads : int
            Models trained at once, >= 1; the result does not depend on it.

        Raises
        ------
        InputError
            If there is too little to learn from.
        """
        final_keys = np.fromiter(map(self._parser.resolve, range(len(self._parser))), np.int32)
        entries, cut = len(self._history), self._history.cut(self._sessions.timeout_s, final_keys=final_keys)
        self._history = History()  # learning needs the memory
        thresholds = _with_rate(thresholds or ThresholdConfig(), cut)
        values = fit_values(
            self._values,
            cut,
            self._value_config,
            contamination=thresholds.contamination,
            seed=seed,
            on_epoch=on_value_epoch,
        )
        train = partial(
            self._fit_behaviour,
            cut,
            _with_confidence(thresholds, self._value_config),
            values,
            seed=seed,
            threads=threads,
            on_epoch=on_epoch,
            on_fold=on_fold,
        )
        workflow = workflow or WorkflowConfig()
        learned, drawn = fit_with_workflow(cut, config or KeyModelConfig(), workflow, train, self._template, seed=seed)
        self._parser.seal()
        fit, behaviour = learned.key_fit, learned.behaviour
        best = next(epoch for epoch in reversed(fit.epochs) if epoch.best)
        report = TrainingReport(
            entries=entries,
            sessions=len(cut.sessions) - cut.blocks,
            stream_blocks=cut.blocks,
            open_at_end=cut.open_at_end,
            templates=len(self._parser.templates()),
            windows=fit.windows,
            distinct_windows=fit.distinct_windows,
            epochs=len(fit.epochs),
            validation_loss=best.validation_loss,
            accuracy=best.accuracy,
            timeout_s=cut.timeout_s,
            seed=seed,
            false_positive_rate=behaviour.calibration.config.false_positive_rate,
            calibration_sessions=behaviour.calibration.sessions,
            sessions_per_day=cut.sessions_per_day,
            conservative=behaviour.calibration.conservative,
            limits=behaviour.calibration.limits(),
            set_aside=learned.set_aside,
            count_vectors=len(behaviour.profile.vectors),
            values_set_aside=values.set_aside,
            value_networks=sum(rule.network is not None for rule in values.model.rules.values()),
            keys=learned_keys(
                self._parser, values, behaviour.calibration, frozenset(behaviour.key_model.vocabulary.keys)
            ),
            workflow=report_of(drawn, behaviour.key_model, workflow, seed=seed),
        )
        model = ApplicationModel(
            application=application,
            version=version,
            parser=self._parser,
            behaviour=behaviour,
            value_model=values.model,
            value_sets=values.sets,
            sessions=self._sessions,
            timeout_s=cut.timeout_s,
            workflow=drawn,
        )
        return model, report

    def _template(self, key: int) -> str:
        """The template of a log key."""
        return self._parser.template(key).text

    def _fit_behaviour(
        self,
        cut: SessionCut,
        thresholds: ThresholdConfig,
        values: LearnedValues,
        config: KeyModelConfig,
        *,
        seed: int,
        threads: int,
        on_epoch: Callable[[Epoch], None],
        on_fold: Callable[[int, int], None],
    ) -> BehaviourFit:
        try:
            return fit_behaviour(
                cut.sessions,
                config,
                thresholds,
                scores=values.scores,
                templates={template.key: template.pieces for template in self._parser.templates()},
                seed=seed,
                threads=threads,
                on_epoch=on_epoch,
                on_fold=on_fold,
            )
        except ValueError as error:
            raise InputError(f"{error}: give a longer log of normal operation") from error


def _parts(state: Mapping[str, Any], beginning: str) -> dict[str, Any]:
    """The parts whose names begin so, without that."""
    return {name.removeprefix(beginning): part for name, part in state.items() if name.startswith(beginning)}


def _with_rate(thresholds: ThresholdConfig, cut: SessionCut) -> ThresholdConfig:
    """Thresholds with the rate that so many false alarms a day come to."""
    if thresholds.false_alarms_per_day is None:
        return thresholds
    if not cut.sessions_per_day:
        raise InputError(
            "no entry has a time, so there is no such thing as a day: give thresholds.false_positive_rate instead",
            field="thresholds.false_alarms_per_day",
        )
    rate = thresholds.false_alarms_per_day / cut.sessions_per_day
    return replace(thresholds, false_positive_rate=min(MAX_RATE, rate))


def _with_confidence(thresholds: ThresholdConfig, values: ValueModelConfig) -> ThresholdConfig:
    """Thresholds with that of the value models pinned, if their configuration does so."""
    if values.confidence is None or thresholds.value is not None:
        return thresholds
    return replace(thresholds, value=-log(1.0 - values.confidence))
