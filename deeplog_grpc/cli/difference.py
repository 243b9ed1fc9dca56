"""What is new, gone or changed between two states of templates."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from rich.table import Table
from rich.text import Text

from deeplog_grpc.parsing import Template
from deeplog_grpc.parsing.templates import WILDCARD


class Change(StrEnum):
    """What became of a template; sorted as it is shown."""

    NEW = "new"
    CHANGED = "changed"
    """Its text became more general or more special."""
    GONE = "gone"
    """There are no entries of it any more."""


_STYLE = {Change.NEW: "red", Change.CHANGED: "yellow", Change.GONE: "dim"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateChange:
    """One template that differs."""

    change: Change
    key: int
    """Log key; of a template that is gone, the one it had."""
    count_before: int
    count: int
    template: str
    template_before: str
    """Empty for a new one."""

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def changes_by_key(before: Sequence[Template], now: Sequence[Template]) -> list[TemplateChange]:
    """Compare a parser's templates with those after it read on: keys mean the same.

    Parameters
    ----------
    before, now : sequence of Template
        ``count`` of ``now`` are the entries read since; a template without any is gone.

    Examples
    --------
    >>> t = lambda key, count, *pieces: Template(key=key, pieces=pieces, count=count)
    >>> found = changes_by_key([t(0, 9, "a"), t(1, 9, "user ann")], [t(1, 3, "user ", ""), t(2, 1, "b")])
    >>> [(str(c.change), c.key, c.count_before, c.count, c.template) for c in found]
    [('new', 2, 0, 1, 'b'), ('changed', 1, 9, 3, 'user <*>'), ('gone', 0, 9, 0, 'a')]
    """
    old = {template.key: template for template in before}
    new = {template.key: template for template in now if template.count}
    pairs = [(template, new.get(key)) for key, template in old.items()]
    return _changes([*pairs, *((None, template) for key, template in new.items() if key not in old)])


def changes_by_text(before: Sequence[Template], now: Sequence[Template]) -> list[TemplateChange]:
    """Compare the templates of two parsers that know nothing of each other, by their texts.

    Two templates are one that changed if either covers the other.

    Examples
    --------
    >>> t = lambda key, count, *pieces: Template(key=key, pieces=pieces, count=count)
    >>> found = changes_by_text([t(0, 9, "a"), t(1, 9, "user ann")], [t(0, 3, "user ", ""), t(1, 1, "a"), t(2, 1, "b")])
    >>> [(str(c.change), c.template_before, c.template) for c in found]
    [('new', '', 'b'), ('changed', 'user ann', 'user <*>')]
    """
    new = {template.text: template for template in now}
    unmatched = [template for template in before if not new.pop(template.text, None)]
    pairs: list[tuple[Template | None, Template | None]] = []
    for old in sorted(unmatched, key=lambda template: -template.count):
        match = next((text for text, template in new.items() if _covers(template, old) or _covers(old, template)), None)
        pairs.append((old, None if match is None else new.pop(match)))
    return _changes([*pairs, *((None, template) for template in new.values())])


def changes_table(changes: Sequence[TemplateChange]) -> Table:
    """The changes for a person."""
    counts = ", ".join(f"{sum(c.change is kind for c in changes):,} {kind}" for kind in Change)
    table = Table(title=f"templates: {counts}", title_justify="left")
    for head in ("change", "key", "before", "now"):
        table.add_column(head, no_wrap=True)
    table.add_column("template", overflow="fold")
    for change in changes:
        text = Text(change.template)
        if change.change is Change.CHANGED:
            text = Text.assemble((f"{change.template_before}\n", "dim"), change.template)
        kind = Text(change.change, style=_STYLE[change.change])
        table.add_row(kind, str(change.key), f"{change.count_before:,}", f"{change.count:,}", text)
    return table


def _covers(general: Template, special: Template) -> bool:
    return general.text != WILDCARD and general.match(special.text) is not None


def _changes(pairs: Sequence[tuple[Template | None, Template | None]]) -> list[TemplateChange]:
    order = list(Change)
    changes = [change for before, now in pairs if (change := _change(before, now)) is not None]
    return sorted(changes, key=lambda c: (order.index(c.change), -max(c.count, c.count_before), c.key))


def _change(before: Template | None, now: Template | None) -> TemplateChange | None:
    shown = now or before
    if shown is None or (before is not None and now is not None and before.text == now.text):
        return None
    return TemplateChange(
        change=Change.NEW if before is None else Change.GONE if now is None else Change.CHANGED,
        key=shown.key,
        count_before=before.count if before else 0,
        count=now.count if now else 0,
        template=shown.text,
        template_before=before.text if before else "",
    )
