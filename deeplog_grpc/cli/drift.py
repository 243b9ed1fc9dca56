"""``deeplog-grpc drift``: whether an application's logs have moved away from training."""

from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import OUTPUT, JsonOption, print_json
from deeplog_grpc.cli.messages import plain
from deeplog_grpc.cli.remote import DEFAULT_SERVER, ApplicationOption, ServerOption, connected
from deeplog_grpc.cli.times import second
from deeplog_grpc.v1 import model_pb2


def drift(application: ApplicationOption = "", server: ServerOption = DEFAULT_SERVER, json: JsonOption = False) -> None:
    """Tell whether an application's logs have moved away from training, and which log keys make that up.

    **Example:** `deeplog-grpc drift --server 127.0.0.1:50051`
    """
    with connected(server) as client:
        report = client.drift(application=application)
    if json:
        print_json(plain(report))
    else:
        _show(report)


def _show(report: model_pb2.DriftReport) -> None:
    state = ("drifting", "bold red") if report.is_drifting else ("no drift", "bold green")
    since = f" since {second(report.since_unix_nano)} UTC" if report.since_unix_nano else ""
    OUTPUT.print(Text.assemble((report.application, "cyan"), " " if report.application else "", state, since))
    if report.message:
        OUTPUT.print(Text(report.message))
    OUTPUT.print(_shares_table(report))
    if report.parts:
        OUTPUT.print(_parts_table(report))


def _shares_table(report: model_pb2.DriftReport) -> Table:
    table = Table("share of entries", "latest window", "usual", caption_justify="left")
    table.add_row("abnormal", f"{report.alarm_share:.2%}", f"{report.usual_alarm_share:.2%}")
    table.add_row("unseen log key", f"{report.unseen_share:.2%}", f"{report.usual_unseen_share:.2%}")
    table.caption = f"{report.entries:,} entries in a window of {report.window_s:,.0f} s"
    return table


def _parts_table(report: model_pb2.DriftReport) -> Table:
    table = Table("key", "anomalies", "template", title="most anomalies in the latest window", title_justify="left")
    for part in report.parts:
        key = "end" if part.key == -1 else str(part.key)
        table.add_row(key, f"{part.count:,}", Text(part.template, overflow="fold"))
    return table
