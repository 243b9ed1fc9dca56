from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StateKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    STATE_KIND_UNSPECIFIED: _ClassVar[StateKind]
    STATE_KIND_START: _ClassVar[StateKind]
    STATE_KIND_END: _ClassVar[StateKind]
    STATE_KIND_KEY: _ClassVar[StateKind]
    STATE_KIND_FORK: _ClassVar[StateKind]
    STATE_KIND_JOIN: _ClassVar[StateKind]

class EdgeKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EDGE_KIND_UNSPECIFIED: _ClassVar[EdgeKind]
    EDGE_KIND_SEQUENCE: _ClassVar[EdgeKind]
    EDGE_KIND_CHOICE: _ClassVar[EdgeKind]
    EDGE_KIND_FORK: _ClassVar[EdgeKind]
    EDGE_KIND_JOIN: _ClassVar[EdgeKind]
    EDGE_KIND_LOOP: _ClassVar[EdgeKind]

class WorkflowFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WORKFLOW_FORMAT_UNSPECIFIED: _ClassVar[WorkflowFormat]
    WORKFLOW_FORMAT_MESSAGE: _ClassVar[WorkflowFormat]
    WORKFLOW_FORMAT_DOT: _ClassVar[WorkflowFormat]
    WORKFLOW_FORMAT_MERMAID: _ClassVar[WorkflowFormat]
    WORKFLOW_FORMAT_SVG: _ClassVar[WorkflowFormat]
    WORKFLOW_FORMAT_JSON: _ClassVar[WorkflowFormat]
STATE_KIND_UNSPECIFIED: StateKind
STATE_KIND_START: StateKind
STATE_KIND_END: StateKind
STATE_KIND_KEY: StateKind
STATE_KIND_FORK: StateKind
STATE_KIND_JOIN: StateKind
EDGE_KIND_UNSPECIFIED: EdgeKind
EDGE_KIND_SEQUENCE: EdgeKind
EDGE_KIND_CHOICE: EdgeKind
EDGE_KIND_FORK: EdgeKind
EDGE_KIND_JOIN: EdgeKind
EDGE_KIND_LOOP: EdgeKind
WORKFLOW_FORMAT_UNSPECIFIED: WorkflowFormat
WORKFLOW_FORMAT_MESSAGE: WorkflowFormat
WORKFLOW_FORMAT_DOT: WorkflowFormat
WORKFLOW_FORMAT_MERMAID: WorkflowFormat
WORKFLOW_FORMAT_SVG: WorkflowFormat
WORKFLOW_FORMAT_JSON: WorkflowFormat

class WorkflowState(_message.Message):
    __slots__ = ("number", "task", "kind", "key", "template", "count", "is_highlighted")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    IS_HIGHLIGHTED_FIELD_NUMBER: _ClassVar[int]
    number: int
    task: int
    kind: StateKind
    key: int
    template: str
    count: int
    is_highlighted: bool
    def __init__(self, number: _Optional[int] = ..., task: _Optional[int] = ..., kind: _Optional[_Union[StateKind, str]] = ..., key: _Optional[int] = ..., template: _Optional[str] = ..., count: _Optional[int] = ..., is_highlighted: _Optional[bool] = ...) -> None: ...

class ElapsedQuantiles(_message.Message):
    __slots__ = ("p50_s", "p95_s", "p99_s", "count")
    P50_S_FIELD_NUMBER: _ClassVar[int]
    P95_S_FIELD_NUMBER: _ClassVar[int]
    P99_S_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    p50_s: float
    p95_s: float
    p99_s: float
    count: int
    def __init__(self, p50_s: _Optional[float] = ..., p95_s: _Optional[float] = ..., p99_s: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...

class WorkflowEdge(_message.Message):
    __slots__ = ("source", "target", "kind", "count", "probability", "least", "most", "elapsed", "is_highlighted")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    IS_HIGHLIGHTED_FIELD_NUMBER: _ClassVar[int]
    source: int
    target: int
    kind: EdgeKind
    count: int
    probability: float
    least: int
    most: int
    elapsed: ElapsedQuantiles
    is_highlighted: bool
    def __init__(self, source: _Optional[int] = ..., target: _Optional[int] = ..., kind: _Optional[_Union[EdgeKind, str]] = ..., count: _Optional[int] = ..., probability: _Optional[float] = ..., least: _Optional[int] = ..., most: _Optional[int] = ..., elapsed: _Optional[_Union[ElapsedQuantiles, _Mapping]] = ..., is_highlighted: _Optional[bool] = ...) -> None: ...

class WorkflowTask(_message.Message):
    __slots__ = ("number", "name", "sessions", "shortest", "states", "edges")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SHORTEST_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    number: int
    name: str
    sessions: int
    shortest: int
    states: _containers.RepeatedCompositeFieldContainer[WorkflowState]
    edges: _containers.RepeatedCompositeFieldContainer[WorkflowEdge]
    def __init__(self, number: _Optional[int] = ..., name: _Optional[str] = ..., sessions: _Optional[int] = ..., shortest: _Optional[int] = ..., states: _Optional[_Iterable[_Union[WorkflowState, _Mapping]]] = ..., edges: _Optional[_Iterable[_Union[WorkflowEdge, _Mapping]]] = ...) -> None: ...

class TaskSuccession(_message.Message):
    __slots__ = ("first", "second", "count")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    first: int
    second: int
    count: int
    def __init__(self, first: _Optional[int] = ..., second: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Workflow(_message.Message):
    __slots__ = ("method", "sessions", "fitness", "tasks", "successions", "suggested_history", "suggested_candidates")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    FITNESS_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    SUCCESSIONS_FIELD_NUMBER: _ClassVar[int]
    SUGGESTED_HISTORY_FIELD_NUMBER: _ClassVar[int]
    SUGGESTED_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    method: str
    sessions: int
    fitness: float
    tasks: _containers.RepeatedCompositeFieldContainer[WorkflowTask]
    successions: _containers.RepeatedCompositeFieldContainer[TaskSuccession]
    suggested_history: int
    suggested_candidates: int
    def __init__(self, method: _Optional[str] = ..., sessions: _Optional[int] = ..., fitness: _Optional[float] = ..., tasks: _Optional[_Iterable[_Union[WorkflowTask, _Mapping]]] = ..., successions: _Optional[_Iterable[_Union[TaskSuccession, _Mapping]]] = ..., suggested_history: _Optional[int] = ..., suggested_candidates: _Optional[int] = ...) -> None: ...

class GetWorkflowRequest(_message.Message):
    __slots__ = ("application", "task", "format", "min_probability", "session", "verdict_id")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    MIN_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    VERDICT_ID_FIELD_NUMBER: _ClassVar[int]
    application: str
    task: int
    format: WorkflowFormat
    min_probability: float
    session: str
    verdict_id: str
    def __init__(self, application: _Optional[str] = ..., task: _Optional[int] = ..., format: _Optional[_Union[WorkflowFormat, str]] = ..., min_probability: _Optional[float] = ..., session: _Optional[str] = ..., verdict_id: _Optional[str] = ...) -> None: ...

class GetWorkflowResponse(_message.Message):
    __slots__ = ("application", "model_version", "workflow", "text")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    WORKFLOW_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    application: str
    model_version: int
    workflow: Workflow
    text: str
    def __init__(self, application: _Optional[str] = ..., model_version: _Optional[int] = ..., workflow: _Optional[_Union[Workflow, _Mapping]] = ..., text: _Optional[str] = ...) -> None: ...
