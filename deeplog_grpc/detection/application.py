"""An application's models: what training makes, what a bundle holds, what feedback changes."""

from dataclasses import dataclass

from deeplog_grpc.detection.config import SessionConfig
from deeplog_grpc.models import Behaviour, LogKeyModel, ValueModel, ValueSets
from deeplog_grpc.parsing import Parser
from deeplog_grpc.workflow import NO_WORKFLOW, Workflow


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationModel:
    """All that training makes of an application, and feedback changes: a bundle holds it, a detector works with it."""

    application: str
    """The application's name."""
    version: int
    """Model version, >= 1."""
    parser: Parser
    """Trained and sealed; it goes on learning new log keys."""
    behaviour: Behaviour
    """What its normal sessions are like."""
    value_model: ValueModel
    value_sets: ValueSets
    sessions: SessionConfig
    timeout_s: float
    """Session time-out in force, in seconds of event time; 0 = sessions never time out."""
    workflow: Workflow = NO_WORKFLOW
    """Its tasks, to diagnose anomalies by; feedback does not change them."""

    @property
    def key_model(self) -> LogKeyModel:
        """Knows the log keys of training."""
        return self.behaviour.key_model
