"""``deeplog-grpc templates``: the templates of a model bundle as a list."""

from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from deeplog_grpc.cli.console import OUTPUT, print_json
from deeplog_grpc.storage import load_bundle

templates = typer.Typer(help="See and edit the message templates of a model bundle.", no_args_is_help=True)

ModelArgument = Annotated[Path, typer.Argument(help="Model bundle.")]


@templates.callback()
def group() -> None:
    """Keep the name of the only sub-command."""


@templates.command(no_args_is_help=True)
def export(
    model: ModelArgument,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="YAML instead of JSON.")] = False,
) -> None:
    """Print the templates of a model: key, template, count, and whether it is sealed (there since training).

    **Example:** `deeplog-grpc templates export model > templates.json`
    """
    rows = exported(model)
    if as_yaml:
        OUTPUT.out(yaml.safe_dump(rows, sort_keys=False, allow_unicode=True, width=10_000), highlight=False, end="")
    else:
        print_json(rows)


def exported(model: Path) -> list[dict[str, Any]]:
    """Templates of a bundle as plain data, by key.

    Raises
    ------
    BundleError
        If the bundle cannot be read.
    """
    return [
        {"key": row.key, "template": row.text, "count": row.count, "sealed": row.is_sealed}
        for row in load_bundle(model).parser.templates()
    ]
