"""``deeplog-grpc models``: the versions of a server's models, and the way back to an earlier one."""

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import OUTPUT, JsonOption, print_json
from deeplog_grpc.cli.messages import name_of, plain
from deeplog_grpc.cli.remote import (
    DEFAULT_SERVER,
    ActorOption,
    ApplicationOption,
    IdOption,
    NoteOption,
    ServerOption,
    actor_of,
    connected,
    named_order,
)
from deeplog_grpc.cli.times import second
from deeplog_grpc.client import new_feedback_id
from deeplog_grpc.v1 import model_pb2

models = typer.Typer(help="See the versions of a server's models, and go back to one.", no_args_is_help=True)


@models.command(name="list")
def list_(application: ApplicationOption = "", server: ServerOption = DEFAULT_SERVER, json: JsonOption = False) -> None:
    """Show the versions of an application's models, the newest first.

    "flagged" is the share of known-normal sessions that the model before and this one flag.

    **Example:** `deeplog-grpc models list --server 127.0.0.1:50051`
    """
    with connected(server) as client:
        versions = client.model_versions(application=application)
    if json:
        for version in versions:
            print_json(plain(version))
    else:
        OUTPUT.print(_table(versions))


@models.command(no_args_is_help=True)
def rollback(
    version: Annotated[int, typer.Argument(min=1, help="The version whose content comes into force again.")],
    actor: ActorOption = None,
    note: NoteOption = "",
    feedback_id: IdOption = "",
    application: ApplicationOption = "",
    server: ServerOption = DEFAULT_SERVER,
    json: JsonOption = False,
) -> None:
    """Put the content of an earlier version into force, as a new version.

    What the versions since then have learned is no longer in force; they stay, so one can go forward again.

    **Example:** `deeplog-grpc models rollback 3 --note 'too many alarms missed'`
    """
    order = feedback_id or new_feedback_id()
    with named_order(order), connected(server) as client:
        made = client.rollback_model(
            version, feedback_id=order, application=application, actor=actor_of(actor), note=note
        )
    if json:
        print_json(plain(made))
    else:
        OUTPUT.print(f"version {made.version} is in force: the content of version {version}", highlight=False)


def _table(versions: list[model_pb2.ModelVersion]) -> Table:
    table = Table("version", "cause", "time (UTC), who and why", "steps", "flagged")
    for version in versions:
        table.add_row(
            Text("\n").join((Text(str(version.version)), _standing(version))),
            name_of(version, "cause") + (f"\nof {version.parent}" if version.parent else ""),
            Text("\n".join(filter(None, (second(version.created_unix_nano), _who(version))))),
            f"{version.steps:,}" if version.steps else "",
            Text(_flagged(version), no_wrap=True),
        )
    return table


def _standing(version: model_pb2.ModelVersion) -> Text:
    """Whether it is in force, or can be again."""
    if version.is_current:
        return Text("in force", style="bold green")
    return Text("kept") if version.is_kept else Text("not kept", style="dim")


def _who(version: model_pb2.ModelVersion) -> str:
    return ": ".join(filter(None, (version.actor, version.note)))


def _flagged(version: model_pb2.ModelVersion) -> str:
    if not version.HasField("check"):
        return ""
    return f"{version.check.flagged_before:.2%} -> {version.check.flagged_after:.2%}"
