"""What ``deeplog-grpc top`` shows, as plain numbers: made of two looks at the metrics of a server."""

import math
import time
from dataclasses import asdict, dataclass

from deeplog_grpc.cli.looks import Look

LATENCIES = {
    "requests": "deeplog_request_seconds",
    "waiting": "deeplog_queue_wait_seconds",
    "scoring runs": "deeplog_scoring_run_seconds",
    "event loop lag": "deeplog_loop_lag_seconds",
}
"""What is called what. All calls count as requests, whatever their method."""
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationFigures:
    """One application. Rates are by the second."""

    application: str
    state: str
    model_version: int
    entries_per_s: float
    open_sessions: int
    anomalies_per_min: float
    is_drifting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A server. Rates are by the second, of the time between the two looks."""

    version: str
    is_ready: bool
    failing_checks: tuple[str, ...]
    up_s: float
    received_per_s: float
    scored_per_s: float
    refused_per_s: float
    rejected_per_s: float
    repeated_per_s: float
    anomalies_per_min: float
    queue_entries: int
    queue_limit_entries: int
    queue_bytes: int
    queue_limit_bytes: int
    memory_bytes: int
    cpu_share: float
    """Of one core."""
    open_files: int
    max_files: int
    open_streams: int
    latencies_s: dict[str, tuple[float, float, float]]
    """Median, 90 % and 99 % of what :data:`LATENCIES` names; nan where nothing came."""
    applications: tuple[ApplicationFigures, ...]
    """The busiest first."""


def figures_of(now: Look, before: Look | None) -> Figures:
    """What a server did between two looks; without the first, since its start."""
    change = now.since(before)
    up_s = max(0.0, time.time() - now.total("process_start_time_seconds"))
    seconds = up_s if change is now or before is None else now.at_s - before.at_s
    per_s = 1.0 / max(seconds, 1e-3)

    def rate(name: str) -> float:
        return change.total(f"deeplog_{name}_total") * per_s

    return Figures(
        version=next(iter(now.by("deeplog_build_info", "version")), ""),
        is_ready=now.total("deeplog_ready") > 0,
        failing_checks=tuple(name for name, passes in now.by("deeplog_check_passed", "check").items() if not passes),
        up_s=up_s,
        received_per_s=rate("received_entries"),
        scored_per_s=rate("scored_entries"),
        refused_per_s=rate("refused_entries"),
        rejected_per_s=rate("rejected_entries"),
        repeated_per_s=rate("repeated_entries"),
        anomalies_per_min=rate("anomalies") * _MINUTE_S,
        queue_entries=int(now.total("deeplog_queue_entries")),
        queue_limit_entries=int(now.total("deeplog_queue_limit_entries")),
        queue_bytes=int(now.total("deeplog_queue_bytes")),
        queue_limit_bytes=int(now.total("deeplog_queue_limit_bytes")),
        memory_bytes=int(now.total("process_resident_memory_bytes")),
        cpu_share=change.total("process_cpu_seconds_total") * per_s,
        open_files=int(now.total("process_open_fds")),
        max_files=int(now.total("process_max_fds")),
        open_streams=int(now.total("deeplog_open_streams")),
        latencies_s={said: _quantiles(change, name) for said, name in LATENCIES.items()},
        applications=_applications(now, change, per_s),
    )


def _quantiles(change: Look, name: str) -> tuple[float, float, float]:
    p50, p90, p99 = (change.quantile(name, share) for share in (0.5, 0.9, 0.99))
    return p50, p90, p99


def _applications(now: Look, change: Look, per_s: float) -> tuple[ApplicationFigures, ...]:
    states = {dict(own)["application"]: dict(own)["state"] for own in now.samples.get("deeplog_application_info", {})}
    versions = now.by("deeplog_model_version", "application")
    entries = change.by("deeplog_scored_entries_total", "application")
    sessions = now.by("deeplog_open_sessions", "application")
    anomalies = change.by("deeplog_anomalies_total", "application")
    drifting = now.by("deeplog_application_drifting", "application")
    found = [
        ApplicationFigures(
            application=name,
            state=state.lower(),
            model_version=int(versions.get(name, 0)),
            entries_per_s=entries.get(name, 0.0) * per_s,
            open_sessions=int(sessions.get(name, 0)),
            anomalies_per_min=anomalies.get(name, 0.0) * per_s * _MINUTE_S,
            is_drifting=drifting.get(name, 0.0) > 0,
        )
        for name, state in states.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.entries_per_s, one.application)))


def plain_figures(figures: Figures) -> dict[str, object]:
    """Figures as data for JSON; null where a latency is not known."""
    found = asdict(figures)
    found["latencies_s"] = {
        name: dict(zip(("p50", "p90", "p99"), (None if math.isnan(q) else q for q in quantiles), strict=True))
        for name, quantiles in figures.latencies_s.items()
    }
    return found
