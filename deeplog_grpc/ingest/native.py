"""Entries of the project's own contract -> columns for the detectors.

Invariant: every entry ends up in exactly one place, a part's columns or the list of faults; the entries of an
application keep their order.

This runs for every line that is served. Where nothing about a request is special (one application, no attributes,
nothing wrong), its columns are read and checked as a whole, each field once; any other request entry by entry, at twice
the cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np

from deeplog_grpc.access.scope import FORBIDDEN, check_scope, in_scope, scope_message
from deeplog_grpc.detection.entries import EntryBatch
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.applications import Applications, admitted
from deeplog_grpc.ingest.config import IngestConfig
from deeplog_grpc.ingest.lines import ArrivedLines, carried
from deeplog_grpc.ingest.records import Origin
from deeplog_grpc.ingest.routing import Router, RoutingConfig

_MAX_TIME_NS = 2**63 - 1
_SHOWN_ID_CHARACTERS = 64
_SHOWN_APPLICATIONS = 10
_NOWHERE = Origin()
_FIELDS = attrgetter("body", "session", "source", "entry_id", "time_unix_nano", "application", "attributes")


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFault:
    """Why one entry cannot be judged."""

    index: int
    """Position in the request."""
    entry_id: str
    """As the sender gave it, cut to 64 characters."""
    field: str
    """Path of the field, for example ``entries[3].body``."""
    reason: str
    """Upper snake case; never changes its meaning."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The good entries of one application in a request."""

    application: str
    positions: Sequence[int]
    """Where each entry stands in the request, ascending. Length n."""
    entry_ids: Sequence[str]
    """Length n."""
    batch: EntryBatch
    """The n entries; those without a time have the time of arrival."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """A request's entries as columns."""

    parts: tuple[Part, ...]
    """One for each application with a good entry, in the order of their first entries."""
    faults: tuple[EntryFault, ...]
    """In the order of the entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What an entry that leaves a field empty gets."""

    application: str = ""
    """Empty = the default of the server, if there is one."""
    source: str = ""
    raw_bodies: bool = False
    """Whether bodies are lines as they were written."""


@dataclass(slots=True)
class _Columns:
    """The entries of one application, while they are collected."""

    positions: list[int] = field(default_factory=list)
    entry_ids: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    times_ns: list[int] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)

    def part(self, application: str, arrival_ns: int) -> Part:
        times_ns = np.array(self.times_ns, np.int64)
        times_ns[times_ns == 0] = arrival_ns
        batch = EntryBatch(bodies=self.bodies, times_ns=times_ns, sessions=self.sessions, sources=self.sources)
        return Part(application=application, positions=self.positions, entry_ids=self.entry_ids, batch=batch)


class NativeIngest:
    """Turns the entries of ``deeplog_grpc.v1`` requests, read leniently, into columns.

    Parameters
    ----------
    applications : Applications
        Say which applications take entries.
    config : IngestConfig
        Limits.
    routing : RoutingConfig
        What the attributes of an entry say where its own fields are empty.
    """

    def __init__(self, applications: Applications, config: IngestConfig, routing: RoutingConfig) -> None:
        self._applications = applications
        self._config = config
        self._router = Router(routing)
        self._lines = ArrivedLines()

    def application(self, name: str, *, field: str) -> str:
        """The application that a request means by a name; empty = the only one there is, else the default.

        Raises
        ------
        InputError
            If there is none of that name, it is empty where there is no default, or the caller's token is not for it.
        """
        if name:
            check_scope(name, field=field)
        names = self._applications.names
        meant = name or (names[0] if len(names) == 1 else self._applications.default)
        if meant not in names:
            raise InputError(self._unknown_application(name), field=field)
        return meant

    def defaults(self, options: Any, *, field: str) -> Defaults:
        """Read a ``ScoreOptions`` message.

        Raises
        ------
        InputError
            If it names an application that is not served or that the token is not for, or a source that is too long.
        """
        application = text(options.application)
        if application:
            check_scope(application, field=f"{field}.application")
        if application and not self._applications.admit(application):
            raise InputError(self._unknown_application(application), field=f"{field}.application")
        if len(options.source) > self._config.max_id_bytes:
            raise InputError(self._too_long(len(options.source), "max_id_bytes"), field=f"{field}.source")
        return Defaults(application=application, source=text(options.source), raw_bodies=bool(options.raw_bodies))

    def check_count(self, count: int, *, field: str) -> None:
        """Refuse a list with more items than one request may have.

        Raises
        ------
        InputError
            If there are more than ``max_entries_per_request``.
        """
        limit = self._config.max_entries_per_request
        if count > limit:
            message = f"{count} items are more than the {limit} of one request (ingest.max_entries_per_request)"
            raise InputError(f"{message}: send them in several", field=field)

    def check_body(self, body: bytes, *, field: str) -> None:
        """Refuse a body that is empty or too long.

        Raises
        ------
        InputError
            If it is.
        """
        if problem := self._body_problem(body):
            raise InputError(problem[1], field=field)

    def ingest(
        self, entries: Sequence[Any], defaults: Defaults, *, arrival_ns: int, plain: Sequence[Any] = ()
    ) -> Ingested:
        """Divide entries into the columns of their applications, and faults.

        Parameters
        ----------
        entries : sequence of lenient ``LogEntry`` [n]
            At most ``max_entries_per_request``; see :meth:`check_count`.
        defaults : Defaults
            What empty fields stand for.
        arrival_ns : int
            Time of entries without one, in nanoseconds since 1970-01-01 UTC, > 0.
        plain : sequence of plain lenient ``LogEntry`` [n]
            The same entries, decoded by :meth:`LenientDecoder.plain`; without them they are read one by one.
        """
        columns = self._columns_at_once(plain, defaults)
        faults: list[EntryFault] = []
        if columns is None:
            columns, faults = self._columns_one_by_one(entries, defaults)
        if defaults.raw_bodies:
            for column in columns.values():
                self._read_lines(column, arrival_ns)
        if self._router.searches_bodies:
            for column in columns.values():
                self._search_sessions(column)
        parts = tuple(column.part(name, arrival_ns) for name, column in columns.items())
        return Ingested(parts=parts, faults=tuple(faults))

    def _columns_at_once(self, plain: Sequence[Any], defaults: Defaults) -> dict[str, _Columns] | None:
        """The columns of entries about which nothing is special; None if something is."""
        if not plain:
            return None
        bodies, sessions, sources, entry_ids, times_ns, names, attributes = zip(*map(_FIELDS, plain), strict=True)
        longest_body, max_id = max(map(len, bodies)), self._config.max_id_bytes
        if (
            any(attributes)
            or names.count(names[0]) < len(names)
            or not all(bodies)
            or longest_body > self._config.max_body_bytes
            or any(max(map(len, ids)) > max_id for ids in (sessions, sources, entry_ids))
            or max(times_ns) > _MAX_TIME_NS
        ):
            return None
        columns: dict[str, _Columns] = {}
        column = self._column(names[0], defaults, columns, {})
        if column is None:
            return None
        column.positions = list(range(len(bodies)))
        column.bodies = texts(bodies)
        column.sessions = texts(sessions)
        column.sources = [source or defaults.source for source in texts(sources)]
        column.entry_ids = texts(entry_ids)
        column.times_ns = list(times_ns)
        return columns

    def _columns_one_by_one(
        self, entries: Sequence[Any], defaults: Defaults
    ) -> tuple[dict[str, _Columns], list[EntryFault]]:
        """The columns of any entries, and what is wrong with the others."""
        max_body, max_id = self._config.max_body_bytes, self._config.max_id_bytes
        max_attributes = self._config.max_attributes
        columns: dict[str, _Columns] = {}
        by_name: dict[bytes, _Columns] = {}
        faults: list[EntryFault] = []
        for position, entry in enumerate(entries):
            body, session, source, entry_id = entry.body, entry.session, entry.source, entry.entry_id
            time_ns, attributes, name = entry.time_unix_nano, entry.attributes, entry.application
            if 0 < len(attributes) <= max_attributes:
                name, session, source = self._routed(entry, defaults)
            column = by_name.get(name)
            if column is None:
                column = self._column(name, defaults, columns, by_name)
            if (
                column is None
                or not 0 < len(body) <= max_body
                or max(len(session), len(source), len(entry_id)) > max_id
                or time_ns > _MAX_TIME_NS
                or len(attributes) > max_attributes
            ):
                faults.append(self._fault(position, entry, name))
                continue
            column.positions.append(position)
            column.entry_ids.append(entry_id.decode(errors="replace"))
            column.bodies.append(body.decode(errors="replace"))
            column.times_ns.append(time_ns)
            column.sessions.append(session.decode(errors="replace"))
            column.sources.append(source.decode(errors="replace") if source else defaults.source)
        return {name: column for name, column in columns.items() if column.positions}, faults

    def _search_sessions(self, column: _Columns) -> None:
        """Find sessions by the expressions of the configuration, where there is none yet."""
        search = self._router.session_in
        column.sessions = [
            session or search(body) for session, body in zip(column.sessions, column.bodies, strict=True)
        ]

    def _read_lines(self, column: _Columns, arrival_ns: int) -> None:
        """Take bodies for lines as they were written."""
        lines = self._lines.near(arrival_ns).read(column.bodies)
        for place, (body, time_ns, session) in zip(
            lines.numbers,
            zip(lines.batch.bodies, lines.batch.times_ns.tolist(), lines.batch.sessions, strict=True),
            strict=True,
        ):
            column.bodies[place] = body
            column.times_ns[place] = column.times_ns[place] or time_ns
            column.sessions[place] = column.sessions[place] or session[: self._config.max_id_bytes]
        column.times_ns = carried(column.times_ns, column.sources)

    def _column(
        self, name: bytes, defaults: Defaults, columns: dict[str, _Columns], by_name: dict[bytes, _Columns]
    ) -> _Columns | None:
        """Where the entries of an application that this request has not named yet go; None = nowhere."""
        try:
            application = name.decode() or defaults.application or self._applications.default
        except UnicodeDecodeError:
            return None
        if not application or not self._applications.admit(application):
            return None
        column = by_name[name] = columns.setdefault(application, _Columns())
        return column

    def _routed(self, entry: Any, defaults: Defaults) -> tuple[bytes, bytes, bytes]:
        """Application, session and source of an entry with attributes, which fill in what its own fields leave open."""
        name, session, source = entry.application, entry.session, entry.source
        if (name or defaults.application) and session and source:
            return name, session, source
        route = self._router.route({text(pair.key): text(pair.value) for pair in entry.attributes}, _NOWHERE)
        if not name and not defaults.application and route.application:
            allowed = in_scope(route.application)
            name = (admitted(self._applications, route.application) if allowed else route.application).encode()
        return name, session or route.session.encode(), source or route.source.encode()

    def _fault(self, position: int, entry: Any, application: bytes) -> EntryFault:
        """The first thing wrong with an entry that something is wrong with; its application, as far as it has one."""
        for name in ("entry_id", "session", "source"):
            if len(size := getattr(entry, name)) > self._config.max_id_bytes:
                return _fault(position, entry, name, ("ID_TOO_LONG", self._too_long(len(size), "max_id_bytes")))
        if problem := self._body_problem(entry.body):
            return _fault(position, entry, "body", problem)
        if entry.time_unix_nano > _MAX_TIME_NS:
            problem = ("TIME_OUT_OF_RANGE", f"{entry.time_unix_nano} ns is past 2^63 - 1: send ns since 1970, or 0")
            return _fault(position, entry, "time_unix_nano", problem)
        if len(entry.attributes) > self._config.max_attributes:
            limit = self._config.max_attributes
            message = f"{len(entry.attributes)} attributes are more than {limit} (ingest.max_attributes): send fewer"
            return _fault(position, entry, "attributes", ("TOO_MANY_ATTRIBUTES", message))
        if application and not in_scope(text(application)):
            return _fault(position, entry, "application", (FORBIDDEN, scope_message(text(application))))
        reason = "UNKNOWN_APPLICATION" if entry.application else "NO_APPLICATION"
        problem = (reason, self._unknown_application(text(entry.application)))
        return _fault(position, entry, "application", problem)

    def _body_problem(self, body: bytes) -> tuple[str, str] | None:
        """Reason and message, or None for a good body."""
        if not body:
            return "EMPTY_BODY", "must not be empty: send the text of the log message"
        if len(body) > self._config.max_body_bytes:
            return "BODY_TOO_LONG", self._too_long(len(body), "max_body_bytes")
        return None

    def _too_long(self, size: int, limit: str) -> str:
        return f"{size} bytes are more than {getattr(self._config, limit)} (ingest.{limit}): shorten it"

    def _unknown_application(self, name: str) -> str:
        names = self._applications.names
        shown = ", ".join(names[:_SHOWN_APPLICATIONS])
        more = len(names) - _SHOWN_APPLICATIONS
        known = f"{shown} and {more} more" if more > 0 else shown or "none yet"
        if not name:
            return f"must name one of the applications served: {known}"
        return f"'{name[:_SHOWN_ID_CHARACTERS]}' is not served here: use one of {known}"


def texts(cells: Sequence[bytes]) -> list[str]:
    """What a column of ``string`` fields read leniently says; see :func:`text`."""
    if not any(cells):
        return [""] * len(cells)
    try:
        return list(map(bytes.decode, cells))
    except UnicodeDecodeError:
        return list(map(text, cells))


def text(raw: bytes) -> str:
    """What a ``string`` field read leniently says; bytes that are not UTF-8 become U+FFFD.

    Examples
    --------
    >>> text(b"disk full")
    'disk full'
    """
    return raw.decode(errors="replace")


def _fault(position: int, entry: Any, name: str, problem: tuple[str, str]) -> EntryFault:
    return EntryFault(
        index=position,
        entry_id=text(entry.entry_id)[:_SHOWN_ID_CHARACTERS],
        field=f"entries[{position}].{name}",
        reason=problem[0],
        message=problem[1],
    )
