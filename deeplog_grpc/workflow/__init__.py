"""The third model of DeepLog: workflows of tasks, and the diagnosis of anomalies by them (CCS'17, section 4).

Built from sessions, from the log key LSTM, or from co-occurrence. Pure: no files, network, clock or event loop.
"""

from deeplog_grpc.workflow.graph import (
    NO_WORKFLOW,
    Edge,
    EdgeKind,
    Elapsed,
    Method,
    State,
    StateKind,
    Task,
    Workflow,
)

__all__ = ["NO_WORKFLOW", "Edge", "EdgeKind", "Elapsed", "Method", "State", "StateKind", "Task", "Workflow"]
