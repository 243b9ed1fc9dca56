"""Faults: what is lost, doubled and raised by them, overload, very many sessions and applications, hours under load.

``PARTS="kill sessions"`` runs these only; the figures of the others stay as they were found before.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import faults_kill, faults_sizes, faults_soak
from benchmarks.harness import run_parts

OVERLOAD_S = 60.0
FIRST = (
    *("runs", "acknowledged", "lost", "doubled", "overload_peak_mb", "overload_recovery_s", "soak_minutes"),
    *("soak_mb_per_hour", "session_bytes", "application_mb", "restart_false_alarms"),
)


def overload(data: Path) -> dict[str, Any]:
    """Ten times the load that a server can take."""
    from benchmarks.faults_overload import run

    return asdict(run(data, seconds=OVERLOAD_S))


def arranged(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that are asked for most, first."""
    first = {name: figures[name] for name in FIRST if name in figures}
    return first | {name: value for name, value in figures.items() if name not in first}


if __name__ == "__main__":
    run_parts(
        "faults",
        {
            "kill": faults_kill.run,
            "overload": overload,
            "sessions": faults_sizes.sessions,
            "applications": faults_sizes.applications,
            "floods": faults_sizes.floods,
            "soak": faults_soak.run,
        },
        arrange=arranged,
    )
