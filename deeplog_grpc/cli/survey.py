"""The templates of log files with what was seen of each: the rows that ``deeplog-grpc parse`` shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table
from rich.text import Text

from deeplog_grpc.cli.rows import iso_time
from deeplog_grpc.cli.train import reference_ns
from deeplog_grpc.detection import EntryBatch
from deeplog_grpc.ingest.files import read_chunks
from deeplog_grpc.ingest.lines import LineReader
from deeplog_grpc.parsing import KeyColumns, Parser, SlotStatistics, SlotTable, Template

EXAMPLE_CHARS = 400
"""Characters of an example that the table shows; JSON has all of it."""


@dataclass(slots=True)
class _Seen:
    """What was seen of one key."""

    count: int = 0
    first_ns: int = 0
    last_ns: int = 0
    """0 = no entry had a time."""
    examples: list[str] = field(default_factory=list)

    def add(self, count: int, first_ns: int, last_ns: int, examples: Sequence[str]) -> None:
        self.count += count
        self.first_ns = min(self.first_ns or first_ns, first_ns or self.first_ns)
        self.last_ns = max(self.last_ns, last_ns)
        self.examples += examples


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRow:
    """One template."""

    template: Template
    count: int
    """Entries of the surveyed files."""
    share: float
    """Of all their entries, in [0, 1]."""
    first_seen: str
    last_seen: str
    """Event times, ISO 8601 UTC; empty when not known."""
    slots: tuple[SlotStatistics, ...]
    examples: tuple[str, ...]

    @property
    def typed_text(self) -> str:
        """The template with the usual kind at each slot: ``took <duration> ms``."""
        kinds = [f"<{slot.kind}>" for slot in self.slots] or ["<*>"] * self.template.slots
        return self.template.fill(kinds)

    def to_json(self) -> dict[str, Any]:
        """Plain data; ``examples`` only where there are some."""
        return {
            "key": self.template.key,
            "count": self.count,
            "template": self.template.text,
            "share": self.share,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "typed_template": self.typed_text,
            "slots": [_slot_json(slot) for slot in self.slots],
            **({"examples": self.examples} if self.examples else {}),
        }


class Survey:
    """Parses entries and notes when and how often each template occurs.

    Parameters
    ----------
    parser : Parser
        Learns on from the entries.
    examples : int
        Examples to keep of each template: its first entries.
    """

    def __init__(self, parser: Parser, *, examples: int = 0) -> None:
        self._parser = parser
        self._examples = examples
        self._slots = SlotTable()
        self._seen: dict[int, _Seen] = {}

    def read(self, paths: Sequence[str]) -> None:
        """Add the entries of log files."""
        for path in paths:
            reader = LineReader(source=path, reference_ns=reference_ns(path))
            for chunk in read_chunks(path):
                self.add(reader.read(chunk.lines).batch)

    def add(self, batch: EntryBatch) -> None:
        """Add entries."""
        for columns in self._parser.parse(batch.bodies).columns():
            self._slots.add(columns)
            self._note(columns, batch)

    def rows(self) -> list[TemplateRow]:
        """The templates that occurred, the most frequent first."""
        seen = self._final()
        total = sum(one.count for one in seen.values())
        rows = [self._row(self._parser.template(key), one, total) for key, one in seen.items()]
        return sorted(rows, key=lambda row: (-row.count, row.template.key))

    def _note(self, columns: KeyColumns, batch: EntryBatch) -> None:
        seen = self._seen.setdefault(columns.key, _Seen())
        times_ns = batch.times_ns[columns.rows]
        known_ns = times_ns[times_ns > 0]
        wanted = columns.rows[: max(0, self._examples - len(seen.examples))]
        seen.add(
            len(columns.rows),
            int(known_ns.min(initial=known_ns[0] if len(known_ns) else 0)),
            int(known_ns.max(initial=0)),
            [batch.bodies[row] for row in wanted.tolist()],
        )

    def _final(self) -> Mapping[int, _Seen]:
        """What was seen by final key: templates may have been merged on the way."""
        final: dict[int, _Seen] = {}
        for key, seen in self._seen.items():
            one = final.setdefault(self._parser.resolve(key), _Seen())
            one.add(seen.count, seen.first_ns, seen.last_ns, seen.examples)
        return final

    def _row(self, template: Template, seen: _Seen, total: int) -> TemplateRow:
        slots = self._slots.slots(template.key)
        return TemplateRow(
            template=template,
            count=seen.count,
            share=seen.count / total,
            first_seen=iso_time(seen.first_ns),
            last_seen=iso_time(seen.last_ns),
            slots=slots if len(slots) == template.slots else (),
            examples=tuple(seen.examples[: self._examples]),
        )


def survey_table(rows: Sequence[TemplateRow]) -> Table:
    """The rows for a person."""
    table = Table(title=f"{len(rows):,} templates, times in UTC", title_justify="left")
    for head in ("key", "count", "share"):
        table.add_column(head, no_wrap=True)
    table.add_column("template", overflow="fold")
    for row in rows:
        text = Text(row.typed_text)
        if row.first_seen:
            first, last = (time[:19].replace("T", " ") for time in (row.first_seen, row.last_seen))
            text.append(f"\n{first} to {last}", style="cyan")
        for example in row.examples:
            text.append(f"\n  {example[:EXAMPLE_CHARS]}", style="dim")
        table.add_row(str(row.template.key), f"{row.count:,}", f"{row.share:.1%}", text)
    return table


def _slot_json(slot: SlotStatistics) -> dict[str, Any]:
    return {
        "kind": str(slot.kind),
        "distinct": slot.distinct,
        "is_identifier": slot.is_identifier,
        "is_constant": slot.is_constant,
        "numeric_share": slot.numeric_share,
    }
