"""Clients of a deeplog-grpc server, for threads (:class:`DeepLogClient`) and for asyncio.

Both raise the errors of :mod:`deeplog_grpc.errors`: ``InputError`` where the request is wrong, ``RefusedError`` where
it may be sent again, ``AccessError`` where the token is not for the call. All calls but streams do the latter
themselves a few times, for UNAVAILABLE only and at the pace that the server asks for. What would teach the models twice
has an identifier, which the client makes where the caller gives none, so that its own repetitions are learned once. A
stream of entries is not repeated, since what it has under way is the caller's to repeat; a watch goes on after its last
anomaly.
"""

from deeplog_grpc.client.aio import AsyncDeepLogClient
from deeplog_grpc.client.config import ClientConfig
from deeplog_grpc.client.failures import error_of
from deeplog_grpc.client.requests import AdaptFields, FeedbackFields, OrderFields, WorkflowFields, new_feedback_id
from deeplog_grpc.client.streaming import StreamItem
from deeplog_grpc.client.threads import DeepLogClient

__all__ = [
    "AdaptFields",
    "AsyncDeepLogClient",
    "ClientConfig",
    "DeepLogClient",
    "FeedbackFields",
    "OrderFields",
    "StreamItem",
    "WorkflowFields",
    "error_of",
    "new_feedback_id",
]
