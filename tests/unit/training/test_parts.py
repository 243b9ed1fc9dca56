"""Requests that entries name, and the parts of sessions that follow from them."""

from collections.abc import Sequence

import numpy as np
import pytest

from deeplog_grpc.detection import EntryBatch, SessionConfig
from deeplog_grpc.detection.identifiers import IDENTIFIER_CHARS, identify, session_patterns
from deeplog_grpc.training.history import History
from deeplog_grpc.training.parts import NO_REQUEST, part_patterns, parts_of, requests_of

REQUEST = "req-0f8fad5b-d9cb-469f-a165-70867728950e"
OTHER = "req-7c9e6679-7425-40de-944b-e07fc1f90ae7"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def numbers_of(bodies: Sequence[str], *expressions: str, session: str = "vm", built_in: bool = True) -> list[int]:
    patterns = part_patterns(SessionConfig(part_patterns=expressions, built_in=built_in))
    numbers: list[int] = requests_of(bodies, [session] * len(bodies), patterns).tolist()
    return numbers


def parts(*sessions: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The parts of sessions that are given as the requests of their entries."""
    lengths = [len(session) for session in sessions]
    starts = np.cumsum([0, *lengths])[:-1]
    owners = np.repeat(np.arange(len(sessions), dtype=np.int32), lengths)
    return parts_of(np.array([request for session in sessions for request in session], np.uint32), starts, owners)


def test_a_request_has_one_number_and_another_one_another() -> None:
    one, same, none, other = numbers_of([f"[{REQUEST}] a", f"b {REQUEST}", "[-] c", f"[{OTHER} - -] a"])
    assert one == same
    assert none == NO_REQUEST
    assert len({one, other, none}) == 3


def test_a_trace_id_is_a_request_where_there_is_no_request_id() -> None:
    trace, upper, both, request = numbers_of(
        [f"trace_id={TRACE} a", f"TRACE_ID={TRACE} a", f"trace_id={TRACE} {REQUEST}", REQUEST]
    )
    assert trace == upper != request == both


def test_the_thing_worked_on_is_no_request() -> None:
    assert numbers_of(["[instance: 0f8fad5b-d9cb-469f-a165-70867728950e] VM Started", "blk_7"]) == [0, 0]


@pytest.mark.parametrize(("session", "body"), [(REQUEST, f"{REQUEST} {OTHER}"), (TRACE, f"trace_id={TRACE}")])
def test_a_session_found_by_its_request_has_none(session: str, body: str) -> None:
    assert numbers_of([body], session=session) == [NO_REQUEST]


def test_users_patterns_go_first_and_need_no_built_in_ones() -> None:
    first, bare, none = numbers_of([f"job=7 {REQUEST}", "job=7", REQUEST], r"job=(\w+)", built_in=False)
    assert first == bare != none == NO_REQUEST
    assert numbers_of([f"job=7 {REQUEST}"], r"job=(\w+)") == [bare]
    assert numbers_of([f"job {REQUEST}"], r"job(?:=(\w+))?") == numbers_of([REQUEST])


def test_a_long_request_is_cut_as_the_session_of_that_name_is() -> None:
    long = "x" * 5000
    assert numbers_of([long], "x+") == numbers_of([long[:IDENTIFIER_CHARS]], "x+")
    assert numbers_of([long], "x+", session=long[:IDENTIFIER_CHARS]) == [NO_REQUEST]


def test_no_entries_have_no_requests() -> None:
    assert numbers_of([]) == []


def test_half_a_character_beside_a_request_does_no_harm() -> None:
    assert numbers_of([f"\ud800 {REQUEST}"]) == numbers_of([REQUEST])


@pytest.mark.parametrize(
    ("session", "places"),
    [
        ([], ()),
        ([0, 0, 0], ()),
        ([1, 1, 1], ()),
        ([1, 1, 2, 2], (2,)),
        ([0, 1, 1, 0, 0, 2, 2, 0], (5,)),
        ([1, 1, 2, 2, 3, 3, 3], (2, 4)),
        ([1, 2, 1, 2], ()),
        ([1, 2, 2, 1, 3, 3], (4,)),
        ([1, 2, 1, 3, 2, 3, 4, 4], (6,)),
        ([1, 1, 2], ()),
        ([1, 2, 2], ()),
        ([1, 1, 9, 2, 2], (3,)),
        ([1, 1, 2, 2, 1], ()),
    ],
)
def test_a_part_begins_where_a_request_does_after_all_others_have_ended(
    session: list[int], places: tuple[int, ...]
) -> None:
    assert parts(session) == (places,)


def test_a_request_of_two_sessions_is_nobodys() -> None:
    assert parts([1, 1, 2, 2], [3, 3, 2]) == ((), ())
    assert parts([9, 9, 1, 1, 9, 2, 2, 9], [9, 9, 3, 3]) == ((5,), ())


def test_a_request_that_ends_in_the_session_before_has_no_part_in_this_one() -> None:
    assert parts([1, 2, 1, 2], [3, 3], [4, 4, 5, 5]) == ((), (), (2,))
    assert parts() == ()


LINES = f"""\
nova.compute.claims [{REQUEST} 113d 54fa - - -] [instance: VM] Attempting claim: memory 2048 MB
nova.virt.libvirt.driver [{REQUEST} 113d 54fa - - -] [instance: VM] Creating image
nova.compute.manager [PERIODIC - - - - -] [instance: VM] VM Started (Lifecycle Event)
nova.compute.manager [PERIODIC - - - - -] [instance: VM] VM Resumed (Lifecycle Event)
nova.virt.libvirt.driver [-] [instance: VM] Instance spawned successfully.
nova.compute.manager [{REQUEST} 113d 54fa - - -] [instance: VM] Took 20.58 seconds to build instance.
nova.compute.manager [PERIODIC - - - - -] [instance: VM] VM Resumed (Lifecycle Event)
nova.compute.manager [{OTHER} 113d 54fa - - -] [instance: VM] Terminating instance
nova.virt.libvirt.driver [-] [instance: VM] Instance destroyed successfully.
nova.virt.libvirt.driver [{OTHER} 113d 54fa - - -] [instance: VM] Deletion of /var/lib/nova/VM_del complete
nova.compute.manager [PERIODIC - - - - -] [instance: VM] VM Stopped (Lifecycle Event)""".splitlines()


def machine(number: int) -> list[str]:
    """The lines of a virtual machine; the periodic task's request is that of all machines."""
    named = f"{number:08x}-0000-4000-8000-000000000000"
    periodic = "req-3ea4052c-895d-4b64-9e2d-04d64c4d94ab"
    replaced = [line.replace("VM]", f"{named}]").replace("PERIODIC", periodic) for line in LINES]
    return [
        line.replace(REQUEST[:12], f"req-{number:08x}").replace(OTHER[:12], f"req-f{number:07x}") for line in replaced
    ]


@pytest.mark.parametrize("expressions", [(), ("instance: ([0-9a-f-]{36})",)])
def test_a_virtual_machine_is_created_and_deleted(expressions: tuple[str, ...]) -> None:
    bodies = [line for lines in zip(machine(1), machine(2), strict=True) for line in lines]
    batch = EntryBatch.of(bodies)
    sessions = identify(batch.bodies, batch.sessions, batch.sources, session_patterns(expressions, built_in=True))
    history = History()
    history.extend(
        np.zeros(len(batch), np.int32),
        sessions,
        batch.times_ns,
        requests=requests_of(batch.bodies, sessions, part_patterns(SessionConfig())),
    )
    assert history.cut(None).parts == ((7,), (7,))
    assert "Terminating instance" in LINES[7]
