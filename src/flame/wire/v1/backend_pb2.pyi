from flame.wire.v1 import types_pb2 as _types_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RegisterNodeRequest(_message.Message):
    __slots__ = ("node", "executors")
    NODE_FIELD_NUMBER: _ClassVar[int]
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    node: _types_pb2.Node
    executors: _containers.RepeatedCompositeFieldContainer[_types_pb2.Executor]
    def __init__(self, node: _Optional[_Union[_types_pb2.Node, _Mapping]] = ..., executors: _Optional[_Iterable[_Union[_types_pb2.Executor, _Mapping]]] = ...) -> None: ...

class SyncNodeRequest(_message.Message):
    __slots__ = ("node", "executors")
    NODE_FIELD_NUMBER: _ClassVar[int]
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    node: _types_pb2.Node
    executors: _containers.RepeatedCompositeFieldContainer[_types_pb2.Executor]
    def __init__(self, node: _Optional[_Union[_types_pb2.Node, _Mapping]] = ..., executors: _Optional[_Iterable[_Union[_types_pb2.Executor, _Mapping]]] = ...) -> None: ...

class SyncNodeResponse(_message.Message):
    __slots__ = ("node", "executors")
    NODE_FIELD_NUMBER: _ClassVar[int]
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    node: _types_pb2.Node
    executors: _containers.RepeatedCompositeFieldContainer[_types_pb2.Executor]
    def __init__(self, node: _Optional[_Union[_types_pb2.Node, _Mapping]] = ..., executors: _Optional[_Iterable[_Union[_types_pb2.Executor, _Mapping]]] = ...) -> None: ...

class ReleaseNodeRequest(_message.Message):
    __slots__ = ("node_name",)
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    node_name: str
    def __init__(self, node_name: _Optional[str] = ...) -> None: ...

class NodeHeartbeat(_message.Message):
    __slots__ = ("node_name", "status")
    NODE_NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    node_name: str
    status: _types_pb2.NodeStatus
    def __init__(self, node_name: _Optional[str] = ..., status: _Optional[_Union[_types_pb2.NodeStatus, _Mapping]] = ...) -> None: ...

class WatchNodeRequest(_message.Message):
    __slots__ = ("heartbeat",)
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    heartbeat: NodeHeartbeat
    def __init__(self, heartbeat: _Optional[_Union[NodeHeartbeat, _Mapping]] = ...) -> None: ...

class Acknowledgement(_message.Message):
    __slots__ = ("timestamp",)
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    timestamp: int
    def __init__(self, timestamp: _Optional[int] = ...) -> None: ...

class WatchNodeResponse(_message.Message):
    __slots__ = ("executor", "ack")
    EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    executor: _types_pb2.Executor
    ack: Acknowledgement
    def __init__(self, executor: _Optional[_Union[_types_pb2.Executor, _Mapping]] = ..., ack: _Optional[_Union[Acknowledgement, _Mapping]] = ...) -> None: ...

class RegisterExecutorRequest(_message.Message):
    __slots__ = ("executor_id", "executor_spec")
    EXECUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_SPEC_FIELD_NUMBER: _ClassVar[int]
    executor_id: str
    executor_spec: _types_pb2.ExecutorSpec
    def __init__(self, executor_id: _Optional[str] = ..., executor_spec: _Optional[_Union[_types_pb2.ExecutorSpec, _Mapping]] = ...) -> None: ...

class UnregisterExecutorRequest(_message.Message):
    __slots__ = ("executor_id",)
    EXECUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    executor_id: str
    def __init__(self, executor_id: _Optional[str] = ...) -> None: ...

class BindExecutorRequest(_message.Message):
    __slots__ = ("executor_id",)
    EXECUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    executor_id: str
    def __init__(self, executor_id: _Optional[str] = ...) -> None: ...

class BindExecutorResponse(_message.Message):
    __slots__ = ("application", "session")
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    application: _types_pb2.Application
    session: _types_pb2.Session
    def __init__(self, application: _Optional[_Union[_types_pb2.Application, _Mapping]] = ..., session: _Optional[_Union[_types_pb2.Session, _Mapping]] = ...) -> None: ...

class BindExecutorCompletedRequest(_message.Message):
    __slots__ = ("executor_id", "result")
    EXECUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    executor_id: str
    result: _types_pb2.Result
    def __init__(self, executor_id: _Optional[str] = ..., result: _Optional[_Union[_types_pb2.Result, _Mapping]] = ...) -> None: ...

class UnbindExecutorRequest(_message.Message):
    __slots__ = ("executor_id",)
    EXECUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    executor_id: str
    def __init__(self, executor_id: _Optional[str] = ...) -> None: ...

class UnbindExecutorCompletedRequest(_message.Message):
    __slots__ = ("executor_id",)
    EXECUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    executor_id: str
    def __init__(self, executor_id: _Optional[str] = ...) -> None: ...

class LaunchTaskRequest(_message.Message):
    __slots__ = ("executor_id",)
    EXECUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    executor_id: str
    def __init__(self, executor_id: _Optional[str] = ...) -> None: ...

class LaunchTaskResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: _types_pb2.Task
    def __init__(self, task: _Optional[_Union[_types_pb2.Task, _Mapping]] = ...) -> None: ...

class CompleteTaskRequest(_message.Message):
    __slots__ = ("executor_id", "task_result")
    EXECUTOR_ID_FIELD_NUMBER: _ClassVar[int]
    TASK_RESULT_FIELD_NUMBER: _ClassVar[int]
    executor_id: str
    task_result: _types_pb2.TaskResult
    def __init__(self, executor_id: _Optional[str] = ..., task_result: _Optional[_Union[_types_pb2.TaskResult, _Mapping]] = ...) -> None: ...
