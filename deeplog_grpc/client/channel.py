"""What both clients ask of gRPC: limits, time-outs, and which calls it repeats by itself."""

import json
from typing import Any

from deeplog_grpc.v1 import deeplog_service_pb2_grpc as stubs

TIMEOUT_S = 60.0
"""Seconds that a call may take, its repetitions included."""
UPDATE_TIMEOUT_S = 600.0
"""The same of a call that makes a model version: it waits for the updates before it, and then for its own."""

_MAX_MESSAGE_BYTES = 64 * 2**20
_REPEATED = (
    *("Parse", "Score", "Feedback", "Adapt", "ListAnomalies", "ListAnomalyGroups", "MuteAnomalyGroup"),
    *("ListModelVersions", "RollbackModel", "GetDrift", "GetWorkflow", "ListApplications", "TrainApplication"),
)
"""Methods that gRPC sends again. Streams are not among them."""
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": "deeplog_grpc.v1.DeepLogService", "method": method} for method in _REPEATED],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.2s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
]
Stub: Any = stubs.DeepLogServiceStub  # generated without types
