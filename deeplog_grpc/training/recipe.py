"""All settings of a training together: the same from a command line, and in a process that the server starts."""

from collections.abc import Callable

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from deeplog_grpc.detection import ApplicationModel, SessionConfig
from deeplog_grpc.models import Epoch, KeyModelConfig, ThresholdConfig, ValueEpoch, ValueModelConfig
from deeplog_grpc.parsing import ParserConfig
from deeplog_grpc.training.trainer import Trainer, TrainingReport
from deeplog_grpc.workflow import WorkflowConfig


@dataclass(frozen=True, slots=True, kw_only=True, config=ConfigDict(extra="forbid", ser_json_inf_nan="strings"))
class Recipe:
    """How to make an application's models from its entries.

    Examples
    --------
    >>> Recipe(seed=1).trainer().entries
    0
    """

    parser: ParserConfig = ParserConfig()
    sessions: SessionConfig = SessionConfig()
    key_model: KeyModelConfig = KeyModelConfig()
    value_model: ValueModelConfig = ValueModelConfig()
    thresholds: ThresholdConfig = ThresholdConfig()
    workflow: WorkflowConfig = WorkflowConfig()
    seed: int = 0

    def trainer(self) -> Trainer:
        """A trainer that has seen nothing; raises as :class:`Trainer`."""
        return Trainer(parser=self.parser, sessions=self.sessions, values=self.value_model)

    def fit(
        self,
        trainer: Trainer,
        *,
        application: str,
        version: int,
        threads: int = 1,
        on_epoch: Callable[[Epoch], None] = lambda epoch: None,
        on_value_epoch: Callable[[ValueEpoch], None] = lambda epoch: None,
        on_fold: Callable[[int, int], None] = lambda done, folds: None,
    ) -> tuple[ApplicationModel, TrainingReport]:
        """Train on all that a trainer has; takes and raises what :meth:`Trainer.fit` does."""
        return trainer.fit(
            application=application,
            version=version,
            config=self.key_model,
            thresholds=self.thresholds,
            workflow=self.workflow,
            seed=self.seed,
            threads=threads,
            on_epoch=on_epoch,
            on_value_epoch=on_value_epoch,
            on_fold=on_fold,
        )
