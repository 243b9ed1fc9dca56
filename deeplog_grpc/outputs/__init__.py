"""What goes back out: anomalies as log records and alerts, and scored records.

The stored anomalies are the queue on disk: each output keeps its place among them and goes on there after a restart.
Shapes, the state of alerts and limits are pure; senders make one try each; runners decide when, and how often again.
``service`` puts them together.
"""

from deeplog_grpc.outputs.config import Output, OutputsConfig

__all__ = ["Output", "OutputsConfig"]
