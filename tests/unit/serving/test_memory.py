import asyncio
from pathlib import Path

import pytest

from deeplog_grpc.errors import MemoryPressureError
from deeplog_grpc.serving.memory import Level, MemoryGuard, Pressure
from deeplog_grpc.serving.memory_reading import OwnProcess, control_group, memory_of

MIB = 1 << 20


def group(folder: Path, *, limit: str, usage: int, inactive: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{usage}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {inactive}\nactive_file 7\n")


def belongs_to(proc: Path, *lines: str) -> Path:
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))
    return proc


def test_the_lowest_limit_above_the_process_counts(tmp_path: Path) -> None:
    proc, root = belongs_to(tmp_path / "proc", "0::/pod/container"), tmp_path / "cgroup"
    group(root / "pod", limit="500", usage=400, inactive=100)
    group(root / "pod" / "container", limit="max", usage=300, inactive=0)
    found = control_group(proc=proc, root=root)
    assert found is not None
    assert (found.limit_bytes, found.held_bytes()) == (500, 300)


def test_in_a_container_the_group_is_at_the_top(tmp_path: Path) -> None:
    proc, root = belongs_to(tmp_path / "proc", "0::/outside/of/it"), tmp_path / "cgroup"
    group(root, limit="1000", usage=30, inactive=40)
    found = control_group(proc=proc, root=root)
    assert found is not None
    assert (found.limit_bytes, found.held_bytes()) == (1000, 0)


def test_version_1_is_read_too(tmp_path: Path) -> None:
    proc, root = belongs_to(tmp_path / "proc", "4:memory:/pod", "1:cpu:/pod"), tmp_path / "cgroup"
    for folder, limit in ((root / "memory", (1 << 63) - 4096), (root / "memory" / "pod", 2_000)):
        folder.mkdir(parents=True)
        (folder / "memory.limit_in_bytes").write_text(str(limit))
        (folder / "memory.usage_in_bytes").write_text("900")
        (folder / "memory.stat").write_text("cache 1\ntotal_inactive_file 200\n")
    found = control_group(proc=proc, root=root)
    assert found is not None
    assert (found.limit_bytes, found.held_bytes()) == (2_000, 700)


@pytest.mark.parametrize("lines", [(), ("0::/",), ("1:cpu:/",)])
def test_without_a_limit_there_is_nothing_to_watch(tmp_path: Path, lines: tuple[str, ...]) -> None:
    assert control_group(proc=belongs_to(tmp_path / "proc", *lines), root=tmp_path / "cgroup") is None
    assert control_group(proc=tmp_path / "nowhere") is None


def test_a_given_limit_is_that_of_the_process() -> None:
    memory = memory_of(1_234)
    assert isinstance(memory, OwnProcess)
    assert memory.limit_bytes == 1_234 * MIB
    assert 5 * MIB < memory.held_bytes() < 100_000 * MIB


def test_freeing_is_tried_at_once_then_ever_more_seldom_and_anew_at_a_new_need() -> None:
    pressure = Pressure(1_000, soft_share=0.8, hard_share=0.9)
    due = []
    for second in range(60):
        pressure.look(850 if second < 40 else 950, now_s=float(second))
        if pressure.relief_is_due(float(second)):
            due.append(second)
    assert due == [0, 2, 6, 14, 30, 40, 42, 46, 54]
    pressure.look(100, now_s=60.0)
    assert not pressure.relief_is_due(1e9)


class Held:
    limit_bytes = 1_000

    def __init__(self) -> None:
        self.now = 0

    def held_bytes(self) -> int:
        return self.now


async def test_the_guard_refuses_empties_caches_and_relents() -> None:
    held, told, busy = Held(), [], True

    async def empty_caches() -> None:
        told.append("emptied")

    guard = MemoryGuard(
        held,
        Pressure(1_000, soft_share=0.8, hard_share=0.9),
        is_busy=lambda: busy,
        empty_caches=empty_caches,
        relent=lambda: told.append("relented"),
    )
    await guard.look()
    assert guard.refusal() is None
    held.now = 850
    await guard.look()
    refusal = guard.refusal()
    assert isinstance(refusal, MemoryPressureError)
    assert refusal.reason == "MEMORY"
    busy = False  # one at a time, so that it cannot refuse for ever
    assert guard.refusal() is None
    held.now = 950
    await guard.look()
    assert guard.refusal() is not None
    assert told == ["emptied"]
    held.now = 700
    await guard.look()
    assert guard.level is Level.LOW
    assert guard.refusal() is None
    assert told == ["emptied", "relented"]


async def test_a_look_that_fails_does_not_end_the_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = asyncio.Event()

    class Unreadable(Held):
        def held_bytes(self) -> int:
            if self.now:
                looks.set()
            self.now += 1
            raise OSError("gone")

    async def nothing() -> None: ...

    monkeypatch.setattr("deeplog_grpc.serving.memory.LOOK_S", 0.001)
    pressure = Pressure(1_000, soft_share=0.8, hard_share=0.9)
    guard = MemoryGuard(Unreadable(), pressure, is_busy=bool, empty_caches=nothing, relent=lambda: None)
    guard.start()
    async with asyncio.timeout(20):
        await looks.wait()
    guard.stop()
