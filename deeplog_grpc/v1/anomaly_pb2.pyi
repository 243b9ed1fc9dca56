from deeplog_grpc.v1 import verdict_pb2 as _verdict_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AnomalyState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ANOMALY_STATE_UNSPECIFIED: _ClassVar[AnomalyState]
    ANOMALY_STATE_OPEN: _ClassVar[AnomalyState]
    ANOMALY_STATE_FALSE_POSITIVE: _ClassVar[AnomalyState]
    ANOMALY_STATE_CONFIRMED: _ClassVar[AnomalyState]
    ANOMALY_STATE_EXPLAINED: _ClassVar[AnomalyState]
ANOMALY_STATE_UNSPECIFIED: AnomalyState
ANOMALY_STATE_OPEN: AnomalyState
ANOMALY_STATE_FALSE_POSITIVE: AnomalyState
ANOMALY_STATE_CONFIRMED: AnomalyState
ANOMALY_STATE_EXPLAINED: AnomalyState

class ContextEntry(_message.Message):
    __slots__ = ("time_unix_nano", "body")
    TIME_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    time_unix_nano: int
    body: str
    def __init__(self, time_unix_nano: _Optional[int] = ..., body: _Optional[str] = ...) -> None: ...

class Anomaly(_message.Message):
    __slots__ = ("verdict", "group_id", "state", "feedback_id", "body", "context", "stored_unix_nano", "is_muted")
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FEEDBACK_ID_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    STORED_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    IS_MUTED_FIELD_NUMBER: _ClassVar[int]
    verdict: _verdict_pb2.Verdict
    group_id: str
    state: AnomalyState
    feedback_id: str
    body: str
    context: _containers.RepeatedCompositeFieldContainer[ContextEntry]
    stored_unix_nano: int
    is_muted: bool
    def __init__(self, verdict: _Optional[_Union[_verdict_pb2.Verdict, _Mapping]] = ..., group_id: _Optional[str] = ..., state: _Optional[_Union[AnomalyState, str]] = ..., feedback_id: _Optional[str] = ..., body: _Optional[str] = ..., context: _Optional[_Iterable[_Union[ContextEntry, _Mapping]]] = ..., stored_unix_nano: _Optional[int] = ..., is_muted: _Optional[bool] = ...) -> None: ...

class AnomalyGroup(_message.Message):
    __slots__ = ("group_id", "application", "kind", "key", "template", "reason", "count", "open_count", "first_seen_unix_nano", "last_seen_unix_nano", "state", "muted_until_unix_nano", "last_verdict_id")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    OPEN_COUNT_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MUTED_UNTIL_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    LAST_VERDICT_ID_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    application: str
    kind: _verdict_pb2.Kind
    key: int
    template: str
    reason: str
    count: int
    open_count: int
    first_seen_unix_nano: int
    last_seen_unix_nano: int
    state: AnomalyState
    muted_until_unix_nano: int
    last_verdict_id: str
    def __init__(self, group_id: _Optional[str] = ..., application: _Optional[str] = ..., kind: _Optional[_Union[_verdict_pb2.Kind, str]] = ..., key: _Optional[int] = ..., template: _Optional[str] = ..., reason: _Optional[str] = ..., count: _Optional[int] = ..., open_count: _Optional[int] = ..., first_seen_unix_nano: _Optional[int] = ..., last_seen_unix_nano: _Optional[int] = ..., state: _Optional[_Union[AnomalyState, str]] = ..., muted_until_unix_nano: _Optional[int] = ..., last_verdict_id: _Optional[str] = ...) -> None: ...

class AnomalyFilter(_message.Message):
    __slots__ = ("application", "kinds", "states", "session", "group_id", "from_unix_nano", "to_unix_nano", "min_score", "exclude_muted", "verdict_ids")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    KINDS_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    TO_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    MIN_SCORE_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_MUTED_FIELD_NUMBER: _ClassVar[int]
    VERDICT_IDS_FIELD_NUMBER: _ClassVar[int]
    application: str
    kinds: _containers.RepeatedScalarFieldContainer[_verdict_pb2.Kind]
    states: _containers.RepeatedScalarFieldContainer[AnomalyState]
    session: str
    group_id: str
    from_unix_nano: int
    to_unix_nano: int
    min_score: float
    exclude_muted: bool
    verdict_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, application: _Optional[str] = ..., kinds: _Optional[_Iterable[_Union[_verdict_pb2.Kind, str]]] = ..., states: _Optional[_Iterable[_Union[AnomalyState, str]]] = ..., session: _Optional[str] = ..., group_id: _Optional[str] = ..., from_unix_nano: _Optional[int] = ..., to_unix_nano: _Optional[int] = ..., min_score: _Optional[float] = ..., exclude_muted: _Optional[bool] = ..., verdict_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListAnomaliesRequest(_message.Message):
    __slots__ = ("filter", "page_size", "page_token")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    filter: AnomalyFilter
    page_size: int
    page_token: str
    def __init__(self, filter: _Optional[_Union[AnomalyFilter, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAnomaliesResponse(_message.Message):
    __slots__ = ("anomalies", "next_page_token")
    ANOMALIES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    anomalies: _containers.RepeatedCompositeFieldContainer[Anomaly]
    next_page_token: str
    def __init__(self, anomalies: _Optional[_Iterable[_Union[Anomaly, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchAnomaliesRequest(_message.Message):
    __slots__ = ("filter", "after_verdict_id")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    AFTER_VERDICT_ID_FIELD_NUMBER: _ClassVar[int]
    filter: AnomalyFilter
    after_verdict_id: str
    def __init__(self, filter: _Optional[_Union[AnomalyFilter, _Mapping]] = ..., after_verdict_id: _Optional[str] = ...) -> None: ...

class ListAnomalyGroupsRequest(_message.Message):
    __slots__ = ("application", "states", "exclude_muted", "page_size", "page_token")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    EXCLUDE_MUTED_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    application: str
    states: _containers.RepeatedScalarFieldContainer[AnomalyState]
    exclude_muted: bool
    page_size: int
    page_token: str
    def __init__(self, application: _Optional[str] = ..., states: _Optional[_Iterable[_Union[AnomalyState, str]]] = ..., exclude_muted: _Optional[bool] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListAnomalyGroupsResponse(_message.Message):
    __slots__ = ("groups", "next_page_token")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[AnomalyGroup]
    next_page_token: str
    def __init__(self, groups: _Optional[_Iterable[_Union[AnomalyGroup, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class MuteAnomalyGroupRequest(_message.Message):
    __slots__ = ("group_id", "muted_until_unix_nano")
    GROUP_ID_FIELD_NUMBER: _ClassVar[int]
    MUTED_UNTIL_UNIX_NANO_FIELD_NUMBER: _ClassVar[int]
    group_id: str
    muted_until_unix_nano: int
    def __init__(self, group_id: _Optional[str] = ..., muted_until_unix_nano: _Optional[int] = ...) -> None: ...

class MuteAnomalyGroupResponse(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: AnomalyGroup
    def __init__(self, group: _Optional[_Union[AnomalyGroup, _Mapping]] = ...) -> None: ...

class WatchAnomaliesResponse(_message.Message):
    __slots__ = ("anomaly", "position")
    ANOMALY_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    anomaly: Anomaly
    position: str
    def __init__(self, anomaly: _Optional[_Union[Anomaly, _Mapping]] = ..., position: _Optional[str] = ...) -> None: ...
