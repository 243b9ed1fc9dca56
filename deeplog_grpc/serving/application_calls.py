"""``ListApplications`` and ``TrainApplication``: where each application stands, in numbers and in a sentence."""

from deeplog_grpc.errors import PreconditionError
from deeplog_grpc.serving.state import Kept, ServerState
from deeplog_grpc.serving.trainings import Standing, Trainings
from deeplog_grpc.v1 import application_pb2 as pb


class ApplicationCalls:
    """Answers the methods about applications.

    Parameters
    ----------
    state : ServerState
    trainings : Trainings, optional
        None = the server does not learn.
    """

    def __init__(self, state: ServerState, trainings: Trainings | None) -> None:
        self._state = state
        self._trainings = trainings

    def found(self, names: list[str]) -> pb.ListApplicationsResponse:
        """Applications, in the order of their names."""
        return pb.ListApplicationsResponse(applications=map(self._message, sorted(names)))

    def train(self, name: str) -> pb.TrainApplicationResponse:
        """Have an application trained.

        Raises
        ------
        PreconditionError
            If the server does not learn.
        InputError
            If there is too little to learn from.
        """
        if self._trainings is None:
            raise PreconditionError(
                "this server does not learn: set learning.enabled to true, or train a bundle with 'deeplog-grpc train'",
                field="application",
            )
        self._trainings.ask(name)
        return pb.TrainApplicationResponse(application=self._message(name))

    def check_has_model(self, name: str) -> None:
        """Refuse what needs a model.

        Raises
        ------
        PreconditionError
            If the application is still learning.
        """
        if name not in self._state.updaters:
            message = self._message(name).message
            raise PreconditionError(f"'{name}' is still learning and has no model yet: {message}", field="application")

    def _message(self, name: str) -> pb.Application:
        updater = self._state.updaters.get(name)
        found = pb.Application(application=name, progress=1.0, state=pb.APPLICATION_STATE_DETECTING)
        if updater is not None:
            found.model_version = updater.model.version
            found.log_key_count = len(updater.model.key_model.vocabulary.keys)
            found.message = f"detecting by version {found.model_version}"
        if self._trainings is not None and (kept := self._state.kept.get(name)) is not None:
            _add_training(found, kept, self._trainings.standing(name))
        return found


def _add_training(found: pb.Application, kept: Kept, standing: Standing) -> None:
    """What is known of an application that can be trained."""
    record = kept.folder.record
    found.last_trained_unix_nano = record.trained_ns
    found.next_training_unix_nano = standing.next_ns
    found.last_refusal = record.refusal
    found.entry_count, found.session_count = record.entries, record.sessions
    if kept.learner is not None and standing.readiness is not None:
        seen = kept.learner.seen(kept.learner.begun_ns)
        found.state = pb.APPLICATION_STATE_LEARNING
        found.entry_count, found.session_count, found.log_key_count = seen.entries, seen.sessions, len(seen.key_starts)
        found.progress, found.message = standing.readiness.progress, standing.readiness.message
    if standing.progress is not None:
        is_first = kept.learner is not None
        found.state = pb.APPLICATION_STATE_TRAINING if is_first else pb.APPLICATION_STATE_RETRAINING
        found.progress = standing.progress
        found.message = f"{'' if is_first else f'{found.message}, '}training: {standing.progress:.0%}"
    elif standing.is_waiting:
        found.is_waiting = True
        found.message += "; its training waits for that of another application"
    if record.refusal:
        found.message += f"; the last training came to nothing: {record.refusal}"
