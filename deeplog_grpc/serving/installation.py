"""Puts a model that was just trained into force while its application goes on.

What is guaranteed. The new detector sees all entries of the last two session time-outs before the change, up to
:data:`MAX_REPLAYED` entries, and then each entry that came since, in their order and once. So a session that is open
at the change stands where it would stand had the detector been there all the time; one that began before that stretch
is one whose beginning is not known, as after a start. No verdict of the replay is stored or told. Where entries come
faster than they can be replayed, or the sample loses some meanwhile (a full disk), the detector starts cold instead:
for the first session time-out, sessions may have begun before it, and none is held against that. Of a sample that lost
some before, only what came after that is replayed.
"""

from collections.abc import Callable, Iterable, Sequence

from deeplog_grpc.detection import ApplicationModel, EntryBatch, Judges
from deeplog_grpc.detection.watermark import NS_PER_S
from deeplog_grpc.errors import RefusedError
from deeplog_grpc.feedback import CaseJudge
from deeplog_grpc.serving.detectors import Scorer
from deeplog_grpc.serving.lineage import Lineage
from deeplog_grpc.storage import SampleLog, SamplePlace, newest_entries, read_sample

MAX_REPLAYED = 50_000
"""Entries before the change: some seconds of work in the thread that learns."""
TIMEOUTS_REPLAYED = 2
"""In the first time-out the detector is cold; of the second it has seen all."""
PIECE = 256
"""Entries that are replayed between two pauses: a few milliseconds."""
ROUNDS = 8
FEW = 500
"""Entries that are left for the moment of the change: some ten milliseconds in which nothing else is scored."""
MAX_MISSED = 20_000
"""Entries that came while others were replayed, past which there is no catching up; the first stretch apart."""
_GATE_CACHE = 8 << 20


class TooFastError(RefusedError):
    """Entries come faster than they are replayed, or than they are kept."""


def replay(
    detector: Scorer, sample: SampleLog, timeout_s: float, pause: Callable[[], None]
) -> Callable[[], Iterable[EntryBatch]]:
    """Let a detector see the entries that came before it; called in the thread that learns.

    Returns
    -------
    callable
        Gives the entries that came meanwhile, at the moment of the change; raises :class:`TooFastError` if they are
        too many.

    Raises
    ------
    TooFastError
        If it does not catch up.
    """
    stop, losses = sample.end, sample.losses
    span_ns = int(TIMEOUTS_REPLAYED * timeout_s * NS_PER_S)
    newest = newest_entries(sample.directory, start=sample.whole_from, stop=stop, entries=MAX_REPLAYED, span_ns=span_ns)
    _feed(detector, [newest], pause)
    for _ in range(ROUNDS):
        start, stop = stop, sample.end
        fed = _feed(detector, read_sample(sample.directory, start=start, stop=stop), pause)
        if fed <= FEW:
            return lambda: _missed(sample, stop, losses)
        if fed > MAX_MISSED:
            break
    raise TooFastError("entries come faster than they are replayed")


def confirmed_missed(lineage: Lineage, model: ApplicationModel) -> tuple[int, int]:
    """How many of the anomalies that were confirmed a model would hold normal, and how many there are.

    Only those count that can be judged: whose log keys the model has. Reads the journal and changes nothing.
    """
    cases = list(dict.fromkeys(lesson.case for lesson in lineage.confirmed()))
    normal = CaseJudge(Judges(model, cache_bytes=_GATE_CACHE)).normal(cases) if cases else []
    return sum(normal), len(cases)


def _feed(detector: Scorer, batches: Iterable[EntryBatch], pause: Callable[[], None]) -> int:
    fed = 0
    for batch in batches:
        for begin in range(0, len(batch), PIECE):
            pause()
            detector.score(batch.slice(begin, begin + PIECE))
        fed += len(batch)
    return fed


def _missed(sample: SampleLog, start: SamplePlace, losses: int) -> Sequence[EntryBatch]:
    if sample.losses > losses:
        raise TooFastError("some of the entries that came meanwhile were not kept")
    batches = list(read_sample(sample.directory, start=start))
    if sum(map(len, batches)) > MAX_MISSED:
        raise TooFastError("too many entries came at the moment of the change")
    return batches
