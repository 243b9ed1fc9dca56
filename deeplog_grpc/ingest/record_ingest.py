"""Foreign records -> columns for the detectors: text, time, and where each belongs.

Every record that has a text ends up in exactly one place, a part's columns or the list of faults; the records of an
application keep their order. Nothing that a shipper cannot mend costs a record: text that is too long is cut, as are
identifiers.
"""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

import numpy as np

from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.ingest.applications import Applications, admitted
from deeplog_grpc.ingest.config import IngestConfig
from deeplog_grpc.ingest.lines import ArrivedLines, LineEntries, carried
from deeplog_grpc.ingest.native import EntryFault, Ingested, Part
from deeplog_grpc.ingest.own import which_are_own
from deeplog_grpc.ingest.records import Origin, Records
from deeplog_grpc.ingest.routing import Route, Router, RoutingConfig
from deeplog_grpc.ingest.values import cut_text

TIME_HEADER = "x-deeplog-time"
"""A header, or option of Forward, by which a sender has its own rule in place of ``routing.time``."""

TIME_HEADER = "x-deeplog-time"
"""A header, or option of Forward, by which a sender has its own rule in place of ``routing.time``."""


class RecordIngest:
    """Turns records into columns.

    A text that is a JSON object gives its fields, and one that begins with a time stamp loses it, as lines of files do
    (:class:`~deeplog_grpc.ingest.lines.LineReader`), so that one model judges an application however its log comes.

    Parameters
    ----------
    applications : Applications
        Those that are served.
    config : IngestConfig
        Limits.
    routing : RoutingConfig
        Where records belong.

    Examples
    --------
    >>> from deeplog_grpc.ingest.applications import FixedApplications
    >>> ingest = RecordIngest(FixedApplications(["cart", "pay"]), IngestConfig(), RoutingConfig())
    >>> origin = Origin(resource={"service.name": "pay"})
    >>> attributes = [{"trace_id": "4b"}, {}]
    >>> records = Records(bodies=["paid", " "], times_ns=[7, 8], attributes=attributes, origins=[origin] * 2)
    >>> [part] = ingest.ingest(records, arrival_ns=9).parts
    >>> part.application, part.batch.bodies, part.batch.sessions
    ('pay', ['paid'], ['4b'])
    """

    def __init__(self, applications: Applications, config: IngestConfig, routing: RoutingConfig) -> None:
        self._applications = applications
        self._max_body_bytes = config.max_body_bytes
        self._router = Router(routing)
        self._max_id_chars = routing.max_id_chars
        self._time = routing.time
        self._lines = ArrivedLines()

    def ingest(self, records: Records, *, arrival_ns: int) -> Ingested:
        """Divide records into the columns of their applications, and faults.

        Records without a text, and those that this project sent out itself, are in neither.

        Parameters
        ----------
        records : Records
        arrival_ns : int
            Time of records that have none, in nanoseconds since 1970-01-01 UTC, > 0.
        """
        lines = self._lines.near(arrival_ns).read([cut_text(body, self._max_body_bytes) for body in records.bodies])
        routes = self._routes(records, lines)
        foreign = _foreign(records, lines)
        applications = self._admitted(routes)
        places: dict[str, list[int]] = {}
        faults = []
        for place in compress(range(len(routes)), foreign):
            if application := applications[routes[place].application]:
                places.setdefault(application, []).append(place)
            else:
                faults.append(_fault(lines.numbers[place], routes[place].application))
        times_ns = self._times_ns(records, lines, routes, arrival_ns)
        parts = tuple(_part(name, chosen, lines, routes, times_ns) for name, chosen in places.items())
        return Ingested(parts=parts, faults=tuple(faults))

    def _routes(self, records: Records, lines: LineEntries) -> list[Route]:
        """Where each line's record belongs; the record's attributes count before the fields of a JSON text."""
        route, search = self._router.route, self._router.session_in if self._router.searches_bodies else None
        attributes, origins = records.attributes, records.origins
        without: dict[Origin, Route] = {}
        routes = []
        limit = self._max_id_chars
        for place, number in enumerate(lines.numbers):
            own, origin = attributes[number], origins[number]
            if own:
                found = route(own, origin)
            elif (known := without.get(origin)) is not None:
                found = known
            else:
                found = without[origin] = route({}, origin)
            application = found.application or lines.applications[place][:limit]
            session = found.session or lines.batch.sessions[place][:limit]
            if not session and search is not None:
                session = search(lines.batch.bodies[place])
            source = found.source or lines.batch.sources[place][:limit]
            routes.append(Route(application, session, source))
        return routes

    def _admitted(self, routes: Sequence[Route]) -> Mapping[str, str]:
        """Name that the routes give -> application that takes such entries; "" = none does."""
        return {
            name: admitted(self._applications, name) for name in dict.fromkeys(route.application for route in routes)
        }

    def _times_ns(self, records: Records, lines: LineEntries, routes: Sequence[Route], arrival_ns: int) -> Any:
        given = np.array([records.times_ns[number] for number in lines.numbers], np.int64)
        times_ns = np.where(given > 0, given, lines.batch.times_ns)
        by_text = self._by_text(records, lines)
        if by_text.any():
            stated = np.array(carried(lines.batch.times_ns.tolist(), [route.source for route in routes]), np.int64)
            times_ns = np.where(by_text & (stated > 0), stated, times_ns)
        return np.where(times_ns > 0, times_ns, arrival_ns)

    def _by_text(self, records: Records, lines: LineEntries) -> Any:
        """Of each line, whether the time in its text counts before that of its record; the sender may say so."""
        rules = {id(origin): _time_rule(origin, self._time) for origin in {id(o): o for o in records.origins}.values()}
        return np.array([rules[id(records.origins[number])] == "body" for number in lines.numbers], bool)


def _time_rule(origin: Origin, default: str) -> str:
    said = origin.headers.get(TIME_HEADER, "").strip().lower()
    return said if said in ("record", "body") else default


def _foreign(records: Records, lines: LineEntries) -> list[bool]:
    """Of each line, whether its record is not one that was sent out here and came back."""
    own = which_are_own(records)
    return [not own[number] for number in lines.numbers]


def _part(name: str, places: list[int], lines: LineEntries, routes: Sequence[Route], times_ns: Any) -> Part:
    bodies = lines.batch.bodies
    return Part(
        application=name,
        positions=[lines.numbers[place] for place in places],
        entry_ids=[""] * len(places),
        batch=EntryBatch(
            bodies=[bodies[place] for place in places],
            times_ns=times_ns[places],
            sessions=[routes[place].session for place in places],
            sources=[routes[place].source for place in places],
        ),
    )


def _fault(position: int, application: str) -> EntryFault:
    if application:
        reason, message = (
            "UNKNOWN_APPLICATION",
            f"'{application[:64]}' is not served here, and cannot be added (learning.max_applications)",
        )
    else:
        reason, message = "NO_APPLICATION", "no rule of routing.application names one of the applications served"
    return EntryFault(index=position, entry_id="", field=f"records[{position}]", reason=reason, message=message)
