"""All that a detector takes from one version of the models: its states, and who judges values and sessions.

Put together once a version, in any thread. The detector's own state (parser, sessions, time) is not in it.
"""

import numpy as np

from deeplog_grpc.detection.application import ApplicationModel
from deeplog_grpc.detection.shapes import ShapeJudge
from deeplog_grpc.detection.states import StateGraph
from deeplog_grpc.detection.values import ValueJudge


class Judges:
    """Judges of one version.

    Parameters
    ----------
    model : ApplicationModel
        Its parser is not touched.
    cache_bytes : int
        About how much the cache of windows may hold.
    values : type of ValueJudge
        Who judges values.
    """

    def __init__(self, model: ApplicationModel, *, cache_bytes: int, values: type[ValueJudge] = ValueJudge) -> None:
        behaviour = model.behaviour
        self.model = model
        self.begin_end = model.key_model.config.begin_end
        self.knows_sessions = behaviour.profile.sessions > 0
        self.unit_of = model.key_model.vocabulary.unit_table()
        self.values = values(model.value_model, model.value_sets, behaviour.calibration)
        self.graph = StateGraph(behaviour, cache_bytes=cache_bytes, usual_elapsed=self.values.usual_elapsed)
        self.shapes = ShapeJudge(behaviour)
        self.read_by = {rule.key: rule.pieces for rule in model.value_model.rules.values()} | model.value_sets.pieces
        """Log key -> constants of the template by which its values are read."""
        self.beginnings = self._usual_beginnings()

    def _usual_beginnings(self) -> frozenset[int]:
        """Units that are usual first keys of a session."""
        beginning = np.array([self.graph.beginning().window], np.int64)
        log_probabilities = self.model.key_model.predict(beginning)[0].log_probabilities.tolist()
        limit = -self.model.behaviour.calibration.usual_begin
        return frozenset(unit for unit, value in enumerate(log_probabilities) if value >= limit)
