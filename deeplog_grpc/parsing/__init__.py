"""Log lines to log keys and parameter values.

`Parser` is streaming Spell with exact caches in front; it needs no settings for a particular system.
`HeadTimestamps` takes the time stamp off raw lines before. `grouping_accuracy` judges a parse against known templates.
"""

from deeplog_grpc.parsing.accuracy import ParsingAccuracy, grouping_accuracy
from deeplog_grpc.parsing.config import ParserConfig
from deeplog_grpc.parsing.events import EventKind, TemplateEvent
from deeplog_grpc.parsing.masks import MaskKind, kind_of
from deeplog_grpc.parsing.parser import ParsedBatch, Parser
from deeplog_grpc.parsing.templates import Template
from deeplog_grpc.parsing.timestamps import HeadTimestamps

__all__ = [
    "EventKind",
    "HeadTimestamps",
    "MaskKind",
    "ParsedBatch",
    "Parser",
    "ParserConfig",
    "ParsingAccuracy",
    "Template",
    "TemplateEvent",
    "grouping_accuracy",
    "kind_of",
]
