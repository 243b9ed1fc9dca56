"""The metrics of a server as numbers: one look, and what happened between two."""

import math
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from prometheus_client.parser import text_string_to_metric_families

from deeplog_grpc.errors import RefusedError

_TIMEOUT_S = 3.0
Labels = tuple[tuple[str, str], ...]

_opener = build_opener(ProxyHandler({}))
"""Not by way of a proxy: the server is near."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """All samples of a server at a moment."""

    at_s: float
    """Seconds of a clock that never runs backwards."""
    samples: Mapping[str, Mapping[Labels, float]]
    """Name -> labels -> value."""

    def total(self, name: str, **labels: str) -> float:
        """The sum of the samples that have these labels, among others; 0 where there are none."""
        wanted = set(labels.items())
        return sum(value for own, value in self.samples.get(name, {}).items() if wanted.issubset(own))

    def by(self, name: str, label: str) -> dict[str, float]:
        """The sums of samples by the values of a label."""
        found: defaultdict[str, float] = defaultdict(float)
        for own, value in self.samples.get(name, {}).items():
            found[dict(own).get(label, "")] += value
        return dict(found)

    def since(self, before: "Look | None") -> "Look":
        """What came between two looks. Where the server was started anew, or there is no look before: since its start.

        Gauges are as they are now.
        """
        start = "process_start_time_seconds"
        if before is None or before.total(start) != self.total(start):
            return self
        return Look(
            at_s=self.at_s,
            samples={
                name: {own: value - before.samples.get(name, {}).get(own, 0.0) for own, value in samples.items()}
                if name.endswith(("_total", "_bucket", "_sum", "_count"))
                else samples
                for name, samples in self.samples.items()
            },
        )

    def quantile(self, name: str, share: float, **labels: str) -> float:
        """A quantile of a histogram, interpolated in its bucket; nan where it has nothing.

        Examples
        --------
        >>> counts = {(("le", "0.1"),): 80.0, (("le", "0.5"),): 100.0, (("le", "+Inf"),): 100.0}
        >>> look = Look(at_s=0.0, samples={"wait_seconds_bucket": counts})
        >>> round(look.quantile("wait_seconds", 0.5), 4), round(look.quantile("wait_seconds", 0.9), 2)
        (0.0625, 0.3)
        """
        wanted = set(labels.items())
        counts: defaultdict[float, float] = defaultdict(float)
        for own, count in self.samples.get(f"{name}_bucket", {}).items():
            if wanted.issubset(own):
                counts[float(dict(own)["le"])] += count
        rank = share * counts.get(math.inf, 0.0)
        if not rank:
            return math.nan
        low, below = 0.0, 0.0
        for bound, count in sorted(counts.items()):
            if count >= rank:
                return low if math.isinf(bound) else low + (bound - low) * (rank - below) / (count - below)
            low, below = bound, count
        raise AssertionError("the last bucket holds all")


def look_at(address: str) -> Look:
    """Read the metrics of a server.

    Raises
    ------
    RefusedError
        If it does not answer with metrics.
    """
    url = address if "://" in address else f"http://{address}"
    try:
        with _opener.open(f"{url.rstrip('/')}/metrics", timeout=_TIMEOUT_S) as response:
            text = response.read().decode()
        return look_of(text)
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        said = getattr(reason, "strerror", None) or str(reason)
        raise RefusedError(f"no answer from {address}: {said}") from error


def look_of(text: str) -> Look:
    """A look from what ``GET /metrics`` answered.

    Raises
    ------
    ValueError
        If these are no metrics.
    """
    at_s = time.monotonic()
    samples: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples[sample.name][tuple(sorted(sample.labels.items()))] = sample.value
    return Look(at_s=at_s, samples=dict(samples))
