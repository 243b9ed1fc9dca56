"""The third model of DeepLog: workflows of tasks, and the diagnosis of anomalies by them (CCS'17, section 4).

Built from sessions, from the log key LSTM, or from co-occurrence. Pure: no files, network, clock or event loop.
"""

from typing import TYPE_CHECKING

from deeplog_grpc.lazy import lazy

if TYPE_CHECKING:
    from deeplog_grpc.workflow.blocks import EMPTY, Block, Choice, Copies, Loop, Parallel, Sequence, Step, sequence
    from deeplog_grpc.workflow.building import build_workflow
    from deeplog_grpc.workflow.construction import TrainingPath, WorkflowConfig, agreement, construct
    from deeplog_grpc.workflow.deviations import Concern, Deviation, Diagnosis, ExpectedStep, SlowStep
    from deeplog_grpc.workflow.diagnosis import Diagnoser, OddValue
    from deeplog_grpc.workflow.graph import (
        NO_TASK,
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
    from deeplog_grpc.workflow.paths import Path, distinct_paths
    from deeplog_grpc.workflow.replay import Explanation, Move, Replay
    from deeplog_grpc.workflow.separation import Location, Separation, locate, separate

__all__ = [
    "EMPTY",
    "NO_TASK",
    "NO_WORKFLOW",
    "Block",
    "Choice",
    "Concern",
    "Copies",
    "Deviation",
    "Diagnoser",
    "Diagnosis",
    "Edge",
    "EdgeKind",
    "Elapsed",
    "ExpectedStep",
    "Explanation",
    "Location",
    "Loop",
    "Method",
    "Move",
    "OddValue",
    "Parallel",
    "Path",
    "Replay",
    "Separation",
    "Sequence",
    "SlowStep",
    "State",
    "StateKind",
    "Step",
    "Task",
    "TrainingPath",
    "Workflow",
    "WorkflowConfig",
    "agreement",
    "build_workflow",
    "construct",
    "distinct_paths",
    "locate",
    "separate",
    "sequence",
]

__getattr__ = lazy(
    __name__,
    {
        "blocks": "EMPTY Block Choice Copies Loop Parallel Sequence Step sequence",
        "building": "build_workflow",
        "construction": "TrainingPath WorkflowConfig agreement construct",
        "deviations": "Concern Deviation Diagnosis ExpectedStep SlowStep",
        "diagnosis": "Diagnoser OddValue",
        "graph": "NO_TASK NO_WORKFLOW Edge EdgeKind Elapsed Method State StateKind Task Workflow",
        "paths": "Path distinct_paths",
        "replay": "Explanation Move Replay",
        "separation": "Location Separation locate separate",
    },
)
