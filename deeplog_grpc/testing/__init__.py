"""What tests need and users may use: simulators whose truth is known.

:func:`simulate_log` writes the log of an application, with faults. :class:`SimulatedLoad` goes on for ever, with as
many templates, open sessions, faults and new windows as are asked for. :func:`simulate_process` makes a process of
tasks as :mod:`deeplog_grpc.workflow` sees them, and draws executions, streams and faults of it. :class:`FaultyProxy` is
a network that fails on order.
"""

from deeplog_grpc.testing.faults import FAULTS, FaultySession, is_normal, with_fault
from deeplog_grpc.testing.making import ProcessKind, simulate_process
from deeplog_grpc.testing.processes import NOISE, Process, SimulatedSession, SimulatedStream
from deeplog_grpc.testing.proxy import Conditions, FaultPlan, FaultyProxy, play
from deeplog_grpc.testing.simulated_load import LOAD_END_PATTERN, LoadShape, SimulatedLoad
from deeplog_grpc.testing.simulated_log import EPOCH_S, Fault, SimulatedLog, simulate_log

__all__ = [
    "EPOCH_S",
    "FAULTS",
    "LOAD_END_PATTERN",
    "NOISE",
    "Conditions",
    "Fault",
    "FaultPlan",
    "FaultyProxy",
    "FaultySession",
    "LoadShape",
    "Process",
    "ProcessKind",
    "SimulatedLoad",
    "SimulatedLog",
    "SimulatedSession",
    "SimulatedStream",
    "is_normal",
    "play",
    "simulate_log",
    "simulate_process",
    "with_fault",
]
