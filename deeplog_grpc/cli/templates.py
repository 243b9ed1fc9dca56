"""``deeplog-grpc templates``: see and edit the message templates of a model bundle."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.console import OUTPUT, JsonOption, print_json
from deeplog_grpc.errors import InputError
from deeplog_grpc.parsing import Parser, ParserConfig, Template
from deeplog_grpc.storage import load_bundle, read_info, save_bundle

templates = typer.Typer(help="See and edit the message templates of a model bundle.", no_args_is_help=True)

ModelArgument = Annotated[Path, typer.Argument(help="Model bundle.")]


@templates.command(no_args_is_help=True)
def export(
    model: ModelArgument,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="YAML instead of JSON.")] = False,
) -> None:
    """Print the templates of a model: key, template, count, and whether it is sealed (there since training).

    **Example:** `deeplog-grpc templates export model > templates.json`
    """
    rows = [_plain(row) for row in load_bundle(model).parser.templates()]
    _print_yaml(rows) if as_yaml else print_json(rows)


@templates.command(name="import", no_args_is_help=True)
def import_(
    file: Annotated[Path, typer.Argument(help="List of templates, JSON or YAML: as exported, or their texts alone.")],
) -> None:
    """Check templates and print the configuration with which a training starts from them.

    They get the first keys, in their order, and are sealed: a parser that starts from the templates of another one
    gives a known line its old template's text. Write <*> for a parameter.

    **Example:** `deeplog-grpc templates import templates.json > seeds.yaml`, then
    `deeplog-grpc train app.log --config seeds.yaml --out model`
    """
    texts = read_templates(file)
    try:
        Parser(ParserConfig(seed_templates=tuple(texts)))
    except ValueError as error:
        raise InputError(str(error), field=str(file)) from error
    _print_yaml({"parser": {"seed_templates": texts}})


@templates.command(no_args_is_help=True)
def forget(
    model: ModelArgument,
    keys: Annotated[list[int], typer.Argument(help="Log keys of the templates.")],
    json: JsonOption = False,
) -> None:
    """Take templates out of a model, so that their lines are of a new kind: each is an unseen key until a training.

    The model is written anew with the next version; a server that runs keeps what it has loaded.

    **Example:** `deeplog-grpc templates forget model 7 12`
    """
    loaded = load_bundle(model)
    gone = [_forgotten(loaded.parser, key) for key in keys]
    report = read_info(model).report
    save_bundle(replace(loaded, version=loaded.version + 1), model, report=report)
    if json:
        print_json({"version": loaded.version + 1, "forgotten": [_plain(template) for template in gone]})
        return
    table = Table("key", "count", "template", title=f"forgotten in version {loaded.version + 1}", title_justify="left")
    for template in gone:
        table.add_row(str(template.key), f"{template.count:,}", Text(template.text, overflow="fold"))
    OUTPUT.print(table)


def read_templates(path: Path) -> list[str]:
    """Texts of templates from a file: a list of texts, or of objects with a ``template``.

    Raises
    ------
    InputError
        If the file cannot be read or holds something else.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise InputError(f"cannot be read: {reason}", field=str(path)) from error
    if not isinstance(found, list):
        raise InputError("is not a list of templates", field=str(path))
    return [_text(entry, f"{path}: entry {number}") for number, entry in enumerate(found, start=1)]


def _text(entry: Any, place: str) -> str:
    text = entry.get("template") if isinstance(entry, dict) else entry
    if not isinstance(text, str) or not text or "\n" in text:
        raise InputError("is neither a text of one line nor an object with such a text as 'template'", field=place)
    return text


def _forgotten(parser: Parser, key: int) -> Template:
    try:
        template = parser.template(key)
        parser.forget(key)
    except (KeyError, ValueError) as error:
        raise InputError(str(error.args[0]), field="KEYS") from error
    return template


def _plain(template: Template) -> dict[str, Any]:
    return {
        "key": template.key,
        "template": template.text,
        "count": template.count,
        "sealed": template.is_sealed,
    }


def _print_yaml(value: Any) -> None:
    OUTPUT.out(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10_000), highlight=False, end="")
