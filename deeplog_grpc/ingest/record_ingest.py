"""Foreign records -> columns for the detectors: text, time, and where each belongs.

Every record that has a text ends up in exactly one place, a part's columns or the list of faults; the records of an
application keep their order. Nothing that a shipper cannot mend costs a record: text that is too long is cut, as are
identifiers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import numpy as np

from deeplog_grpc.access.scope import FORBIDDEN, in_scope, scope_message
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

_MOST_BYTES = 4
"""Of one character in UTF-8."""


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
        lines = self._lines.near(arrival_ns).read(self._cut(records.bodies))
        routes = self._routes(records, lines)
        applications = self._admitted(routes.applications)
        places, faults = _places(routes.applications, applications, _foreign(records, lines), lines.numbers)
        times_ns = self._times_ns(records, lines, routes.sources, arrival_ns)
        parts = tuple(_part(name, chosen, lines, routes, times_ns) for name, chosen in places.items())
        return Ingested(parts=parts, faults=tuple(faults))

    def _cut(self, bodies: Sequence[str]) -> Sequence[str]:
        """Bodies without what is past ``max_body_bytes``."""
        if _MOST_BYTES * max(map(len, bodies), default=0) <= self._max_body_bytes:
            return bodies
        return [cut_text(body, self._max_body_bytes) for body in bodies]

    def _routes(self, records: Records, lines: LineEntries) -> "_Routes":
        """Where each line's record belongs; the record's attributes count before the fields of a JSON text."""
        limit = self._max_id_chars
        found = self._stated_routes(records, lines.numbers)
        routes = _Routes(
            *(
                [own or other[:limit] for own, other in zip(stated, in_text, strict=True)]
                for stated, in_text in zip(
                    zip(*found, strict=True) if found else ((), (), ()),
                    (lines.applications, lines.batch.sessions, lines.batch.sources),
                    strict=True,
                )
            )
        )
        if self._router.searches_bodies:
            search = self._router.session_in
            routes.sessions[:] = [
                session or search(body) for session, body in zip(routes.sessions, lines.batch.bodies, strict=True)
            ]
        return routes

    def _stated_routes(self, records: Records, numbers: Sequence[int]) -> list[Route]:
        """What the rules say of some records by their attributes and origins."""
        route, attributes, origins = self._router.route, records.attributes, records.origins
        without: dict[int, Route] = {}
        if not any(attributes):
            without = {id(origin): route({}, origin) for origin in {id(one): one for one in origins}.values()}
            return [without[id(origins[number])] for number in numbers]
        found = []
        for number in numbers:
            own, origin = attributes[number], origins[number]
            if own:
                found.append(route(own, origin))
            else:
                if id(origin) not in without:
                    without[id(origin)] = route({}, origin)
                found.append(without[id(origin)])
        return found

    def _admitted(self, names: Sequence[str]) -> Mapping[str, str]:
        """Name that the routes give -> application that takes such entries; "" = none does."""
        return {name: admitted(self._applications, name) for name in dict.fromkeys(names)}

    def _times_ns(self, records: Records, lines: LineEntries, sources: Sequence[str], arrival_ns: int) -> Any:
        given = np.array(records.times_ns, np.int64)[list(lines.numbers)]
        times_ns = np.where(given > 0, given, lines.batch.times_ns)
        by_text = self._by_text(records, lines)
        if by_text.any():
            stated = np.array(carried(lines.batch.times_ns.tolist(), sources), np.int64)
            times_ns = np.where(by_text & (stated > 0), stated, times_ns)
        return np.where(times_ns > 0, times_ns, arrival_ns)

    def _by_text(self, records: Records, lines: LineEntries) -> Any:
        """Of each line, whether the time in its text counts before that of its record; the sender may say so."""
        rules = {id(origin): _time_rule(origin, self._time) for origin in {id(o): o for o in records.origins}.values()}
        if set(rules.values()) <= {"record"}:
            return np.zeros(len(lines.numbers), bool)
        return np.array([rules[id(records.origins[number])] == "body" for number in lines.numbers], bool)


@dataclass(frozen=True, slots=True)
class _Routes:
    """Where n records belong; "" = nothing says so."""

    applications: list[str]
    sessions: list[str]
    sources: list[str]


def _places(
    names: Sequence[str], applications: Mapping[str, str], foreign: Sequence[bool], numbers: Sequence[int]
) -> tuple[Mapping[str, Sequence[int]], list[EntryFault]]:
    """Application -> which records are its entries; and the faults of those that nobody takes."""
    if len(applications) == 1 and all(foreign) and (application := applications[names[0]]):
        return {application: range(len(names))}, []
    places: dict[str, list[int]] = {}
    faults = []
    for place in compress(range(len(names)), foreign):
        if application := applications[names[place]]:
            places.setdefault(application, []).append(place)
        else:
            faults.append(_fault(numbers[place], names[place]))
    return places, faults


def _time_rule(origin: Origin, default: str) -> str:
    said = origin.headers.get(TIME_HEADER, "").strip().lower()
    return said if said in ("record", "body") else default


def _foreign(records: Records, lines: LineEntries) -> list[bool]:
    """Of each line, whether its record is not one that was sent out here and came back."""
    own = which_are_own(records)
    return [not own[number] for number in lines.numbers] if any(own) else [True] * len(lines.numbers)


def _part(name: str, places: Sequence[int], lines: LineEntries, routes: _Routes, times_ns: Any) -> Part:
    def of(column: Sequence[Any]) -> Sequence[Any]:
        return column if len(places) == len(column) else [column[place] for place in places]

    return Part(
        application=name,
        positions=list(of(lines.numbers)),
        entry_ids=[""] * len(places),
        batch=EntryBatch(
            bodies=of(lines.batch.bodies),
            times_ns=times_ns[np.asarray(places, np.intp)],
            sessions=of(routes.sessions),
            sources=of(routes.sources),
        ),
    )


def _fault(position: int, application: str) -> EntryFault:
    if application and not in_scope(application):
        reason, message = FORBIDDEN, scope_message(application)
    elif application:
        reason, message = (
            "UNKNOWN_APPLICATION",
            f"'{application[:64]}' is not served here, and cannot be added (learning.max_applications)",
        )
    else:
        reason, message = "NO_APPLICATION", "no rule of routing.application names one of the applications served"
    return EntryFault(index=position, entry_id="", field=f"records[{position}]", reason=reason, message=message)
