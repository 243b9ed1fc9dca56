"""Log lines to log keys and parameter values.

`Parser` is streaming Spell with exact caches in front; it needs no settings for a particular system.
`HeadTimestamps` takes the time stamp off raw lines before. `Parameter` is a typed value; `KeyColumns` are the values of
one key in a batch; `SlotStatistics` tells identifiers from amounts and categories. `grouping_accuracy` judges a parse
against known templates.
"""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy

if TYPE_CHECKING:
    from deeplog_grpc.parsing.accuracy import ParsingAccuracy, grouping_accuracy
    from deeplog_grpc.parsing.batch import ParsedBatch
    from deeplog_grpc.parsing.columns import KeyColumns, SlotColumn
    from deeplog_grpc.parsing.config import ParserConfig
    from deeplog_grpc.parsing.events import EventKind, TemplateEvent, slot_now
    from deeplog_grpc.parsing.kinds import ValueKind
    from deeplog_grpc.parsing.parser import Parser
    from deeplog_grpc.parsing.slots import FirstSeen, SlotStatistics, SlotTable, kept_text
    from deeplog_grpc.parsing.templates import Template
    from deeplog_grpc.parsing.timestamps import HeadTimestamps
    from deeplog_grpc.parsing.values import Parameter, kind_of

__all__ = [
    "EventKind",
    "FirstSeen",
    "HeadTimestamps",
    "KeyColumns",
    "Parameter",
    "ParsedBatch",
    "Parser",
    "ParserConfig",
    "ParsingAccuracy",
    "SlotColumn",
    "SlotStatistics",
    "SlotTable",
    "Template",
    "TemplateEvent",
    "ValueKind",
    "grouping_accuracy",
    "kept_text",
    "kind_of",
    "slot_now",
]

__getattr__ = lazy(
    __name__,
    {
        "accuracy": "ParsingAccuracy grouping_accuracy",
        "batch": "ParsedBatch",
        "columns": "KeyColumns SlotColumn",
        "config": "ParserConfig",
        "events": "EventKind TemplateEvent slot_now",
        "kinds": "ValueKind",
        "parser": "Parser",
        "slots": "FirstSeen SlotStatistics SlotTable kept_text",
        "templates": "Template",
        "timestamps": "HeadTimestamps",
        "values": "Parameter kind_of",
    },
)
