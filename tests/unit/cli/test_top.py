"""What ``deeplog-grpc top`` makes of the metrics of a server."""

import io
import math

import pytest
from rich.console import Console

from deeplog_grpc.cli.looks import Look, look_of
from deeplog_grpc.cli.top_figures import figures_of, plain_figures
from deeplog_grpc.cli.top_view import TopView
from deeplog_grpc.v1 import anomaly_pb2, verdict_pb2

_METRICS = """\
# TYPE deeplog_received_entries_total counter
deeplog_received_entries_total {received}
# TYPE deeplog_scored_entries_total counter
deeplog_scored_entries_total{{application="orders"}} {scored}
deeplog_scored_entries_total{{application="payments"}} 10
# TYPE deeplog_refused_entries_total counter
deeplog_refused_entries_total{{reason="QUEUE_FULL"}} {refused}
# TYPE deeplog_anomalies_total counter
deeplog_anomalies_total{{application="orders",kind="UNSEEN_KEY"}} {anomalies}
# TYPE deeplog_application_info gauge
deeplog_application_info{{application="payments",state="LEARNING"}} 1
deeplog_application_info{{application="orders",state="DETECTING"}} 1
# TYPE deeplog_application_drifting gauge
deeplog_application_drifting{{application="orders"}} 1
# TYPE deeplog_queue_entries gauge
deeplog_queue_entries 600
# TYPE deeplog_queue_limit_entries gauge
deeplog_queue_limit_entries 1000
# TYPE deeplog_ready gauge
deeplog_ready {ready}
# TYPE deeplog_check_passed gauge
deeplog_check_passed{{check="serving"}} 1
deeplog_check_passed{{check="scoring"}} {ready}
# TYPE deeplog_request_seconds histogram
deeplog_request_seconds_bucket{{method="Score",le="0.1"}} {scored}
deeplog_request_seconds_bucket{{method="Score",le="+Inf"}} {scored}
# TYPE process_start_time_seconds gauge
process_start_time_seconds {started}
"""


def look(at_s: float, **numbers: float) -> Look:
    values = {"received": 0, "scored": 0, "refused": 0, "anomalies": 0, "ready": 1, "started": 1_000, **numbers}
    return Look(at_s=at_s, samples=look_of(_METRICS.format(**values)).samples)


def test_rates_are_those_between_two_looks() -> None:
    before = look(10.0, received=100, scored=80, refused=5)
    found = figures_of(look(12.0, received=300, scored=180, refused=105, anomalies=1), before)
    assert (found.received_per_s, found.scored_per_s, found.refused_per_s) == (100, 50, 50)
    assert found.anomalies_per_min == 30
    orders, payments = found.applications
    assert (orders.application, orders.state, orders.entries_per_s, orders.is_drifting) == (
        *("orders", "detecting"),
        *(50, True),
    )
    assert (payments.state, payments.entries_per_s) == ("learning", 0)
    assert found.latencies_s["requests"] == pytest.approx((0.05, 0.09, 0.099))
    assert math.isnan(found.latencies_s["waiting"][0])


def test_a_server_that_was_started_anew_has_no_negative_rates() -> None:
    before = look(10.0, received=5_000, scored=5_000)
    found = figures_of(look(12.0, received=40, scored=20, started=2_000), before)
    assert 0 < found.received_per_s < 1
    assert 0 < found.scored_per_s < found.received_per_s


def test_figures_are_data_for_machines() -> None:
    plain = plain_figures(figures_of(look(2.0, scored=4), look(1.0)))
    assert plain["latencies_s"] == {
        "requests": {"p50": 0.05, "p90": pytest.approx(0.09), "p99": pytest.approx(0.099)},
        **{name: {"p50": None, "p90": None, "p99": None} for name in ("waiting", "scoring runs", "event loop lag")},
    }


def shown(view: TopView, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, record=True, file=io.StringIO())
    console.print(view)
    return console.export_text().splitlines()


@pytest.mark.parametrize(("width", "height"), [(80, 24), (140, 40)])
def test_a_view_fits_the_terminal(width: int, height: int) -> None:
    groups = [
        anomaly_pb2.AnomalyGroup(
            application="orders",
            kind=verdict_pb2.KIND_UNSEEN_KEY,
            template=f"disk {number} is <*>",
            reason="never seen",
            count=3,
            last_seen_unix_nano=1_714_557_600_000_000_000,
        )
        for number in range(100)
    ]
    figures = figures_of(look(2.0, received=90, scored=70, refused=20), look(1.0))
    lines = shown(TopView("127.0.0.1:9464", figures, groups=groups), width, height)
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    wanted = ("ready", "90 received", "70 scored", "20 refused", "600 of 1,000", "orders", "drift", "disk 0 is <*>")
    assert [words for words in wanted if words not in text] == []
    assert ("(never seen)" in text) == (width > 100)


def test_many_applications_are_cut_to_the_room_there_is() -> None:
    template = 'deeplog_application_info{{application="app-{n}",state="LEARNING"}} 1\n'
    many = look_of("# TYPE deeplog_application_info gauge\n" + "".join(template.format(n=n) for n in range(300)))
    lines = shown(TopView("a:1", figures_of(many, None), groups="no alarms"), 80, 24)
    assert len(lines) < 24
    assert any("and 29" in line and "more" in line for line in lines)


def test_what_is_wrong_is_said() -> None:
    not_ready = "\n".join(shown(TopView("a:1", figures_of(look(1.0, ready=0), None)), 80, 24))
    assert "not ready: scoring" in not_ready
    away = "\n".join(shown(TopView("a:1", None, trouble="no answer from a:1: Connection refused"), 80, 24))
    assert "no answer" in away
    assert "asked again" in away
