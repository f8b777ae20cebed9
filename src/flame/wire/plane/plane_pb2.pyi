from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelopes(_message.Message):
    __slots__ = ("envelopes",)
    ENVELOPES_FIELD_NUMBER: _ClassVar[int]
    envelopes: _containers.RepeatedCompositeFieldContainer[Envelope]
    def __init__(self, envelopes: _Optional[_Iterable[_Union[Envelope, _Mapping]]] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("request", "session_info", "task_info", "app_info", "node_info", "executor_info", "hello", "welcome", "failure", "done", "open_session", "close_session", "delete_session", "get_session", "list_sessions", "session_list", "register_app", "update_app", "unregister_app", "get_app", "list_apps", "app_list", "list_nodes", "node_list", "list_executors", "executor_list", "get_status", "status", "explain", "explanation", "get_logs", "log_list", "submit", "submitted", "results", "resume", "get_task", "list_tasks", "task_list", "watch_task", "unwatch", "task_changed", "cancel_tasks", "cancelled", "log_line", "streamed", "enter", "entered", "assign", "completed", "recorded", "started", "recall", "recalled", "cancel_running", "blocked", "leave", "left", "demand_changed", "demand_gone", "executor_changed", "kill_executor", "granted", "drain_executor", "placement_gone", "cluster_changed", "reasons", "manager_joined", "placed", "register_node", "heartbeat", "release_node", "start_placement", "stop_placement", "placement_started", "placement_exited", "share_blob", "fetch_blob", "blob", "identity", "tenant_info", "tenant_use", "token_info", "who_am_i", "create_token", "token_created", "revoke_token", "list_tokens", "token_list", "set_tenant", "drop_tenant", "list_tenants", "tenant_list", "set_node", "join_node", "node_admitted", "redeem_token", "identities", "taint", "put_object", "object_put", "get_object", "object", "list_objects", "object_list", "delete_object", "watch_objects", "object_change", "object_changes", "debug_object", "call_replica", "replica_answer", "probe_spec", "port_spec", "mount_spec", "volume_spec", "env_var", "container_spec", "replica_spec", "start_replica", "container_status", "replica_changed", "ask_agent", "agent_answered", "agent_tuned")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    SESSION_INFO_FIELD_NUMBER: _ClassVar[int]
    TASK_INFO_FIELD_NUMBER: _ClassVar[int]
    APP_INFO_FIELD_NUMBER: _ClassVar[int]
    NODE_INFO_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_INFO_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    OPEN_SESSION_FIELD_NUMBER: _ClassVar[int]
    CLOSE_SESSION_FIELD_NUMBER: _ClassVar[int]
    DELETE_SESSION_FIELD_NUMBER: _ClassVar[int]
    GET_SESSION_FIELD_NUMBER: _ClassVar[int]
    LIST_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    SESSION_LIST_FIELD_NUMBER: _ClassVar[int]
    REGISTER_APP_FIELD_NUMBER: _ClassVar[int]
    UPDATE_APP_FIELD_NUMBER: _ClassVar[int]
    UNREGISTER_APP_FIELD_NUMBER: _ClassVar[int]
    GET_APP_FIELD_NUMBER: _ClassVar[int]
    LIST_APPS_FIELD_NUMBER: _ClassVar[int]
    APP_LIST_FIELD_NUMBER: _ClassVar[int]
    LIST_NODES_FIELD_NUMBER: _ClassVar[int]
    NODE_LIST_FIELD_NUMBER: _ClassVar[int]
    LIST_EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_LIST_FIELD_NUMBER: _ClassVar[int]
    GET_STATUS_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    GET_LOGS_FIELD_NUMBER: _ClassVar[int]
    LOG_LIST_FIELD_NUMBER: _ClassVar[int]
    SUBMIT_FIELD_NUMBER: _ClassVar[int]
    SUBMITTED_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    GET_TASK_FIELD_NUMBER: _ClassVar[int]
    LIST_TASKS_FIELD_NUMBER: _ClassVar[int]
    TASK_LIST_FIELD_NUMBER: _ClassVar[int]
    WATCH_TASK_FIELD_NUMBER: _ClassVar[int]
    UNWATCH_FIELD_NUMBER: _ClassVar[int]
    TASK_CHANGED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_TASKS_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    LOG_LINE_FIELD_NUMBER: _ClassVar[int]
    STREAMED_FIELD_NUMBER: _ClassVar[int]
    ENTER_FIELD_NUMBER: _ClassVar[int]
    ENTERED_FIELD_NUMBER: _ClassVar[int]
    ASSIGN_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    RECORDED_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    RECALLED_FIELD_NUMBER: _ClassVar[int]
    CANCEL_RUNNING_FIELD_NUMBER: _ClassVar[int]
    BLOCKED_FIELD_NUMBER: _ClassVar[int]
    LEAVE_FIELD_NUMBER: _ClassVar[int]
    LEFT_FIELD_NUMBER: _ClassVar[int]
    DEMAND_CHANGED_FIELD_NUMBER: _ClassVar[int]
    DEMAND_GONE_FIELD_NUMBER: _ClassVar[int]
    EXECUTOR_CHANGED_FIELD_NUMBER: _ClassVar[int]
    KILL_EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    GRANTED_FIELD_NUMBER: _ClassVar[int]
    DRAIN_EXECUTOR_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_GONE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_CHANGED_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    MANAGER_JOINED_FIELD_NUMBER: _ClassVar[int]
    PLACED_FIELD_NUMBER: _ClassVar[int]
    REGISTER_NODE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_NODE_FIELD_NUMBER: _ClassVar[int]
    START_PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    STOP_PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_STARTED_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_EXITED_FIELD_NUMBER: _ClassVar[int]
    SHARE_BLOB_FIELD_NUMBER: _ClassVar[int]
    FETCH_BLOB_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    TENANT_INFO_FIELD_NUMBER: _ClassVar[int]
    TENANT_USE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_INFO_FIELD_NUMBER: _ClassVar[int]
    WHO_AM_I_FIELD_NUMBER: _ClassVar[int]
    CREATE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TOKEN_CREATED_FIELD_NUMBER: _ClassVar[int]
    REVOKE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LIST_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_LIST_FIELD_NUMBER: _ClassVar[int]
    SET_TENANT_FIELD_NUMBER: _ClassVar[int]
    DROP_TENANT_FIELD_NUMBER: _ClassVar[int]
    LIST_TENANTS_FIELD_NUMBER: _ClassVar[int]
    TENANT_LIST_FIELD_NUMBER: _ClassVar[int]
    SET_NODE_FIELD_NUMBER: _ClassVar[int]
    JOIN_NODE_FIELD_NUMBER: _ClassVar[int]
    NODE_ADMITTED_FIELD_NUMBER: _ClassVar[int]
    REDEEM_TOKEN_FIELD_NUMBER: _ClassVar[int]
    IDENTITIES_FIELD_NUMBER: _ClassVar[int]
    TAINT_FIELD_NUMBER: _ClassVar[int]
    PUT_OBJECT_FIELD_NUMBER: _ClassVar[int]
    OBJECT_PUT_FIELD_NUMBER: _ClassVar[int]
    GET_OBJECT_FIELD_NUMBER: _ClassVar[int]
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    LIST_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_LIST_FIELD_NUMBER: _ClassVar[int]
    DELETE_OBJECT_FIELD_NUMBER: _ClassVar[int]
    WATCH_OBJECTS_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CHANGE_FIELD_NUMBER: _ClassVar[int]
    OBJECT_CHANGES_FIELD_NUMBER: _ClassVar[int]
    DEBUG_OBJECT_FIELD_NUMBER: _ClassVar[int]
    CALL_REPLICA_FIELD_NUMBER: _ClassVar[int]
    REPLICA_ANSWER_FIELD_NUMBER: _ClassVar[int]
    PROBE_SPEC_FIELD_NUMBER: _ClassVar[int]
    PORT_SPEC_FIELD_NUMBER: _ClassVar[int]
    MOUNT_SPEC_FIELD_NUMBER: _ClassVar[int]
    VOLUME_SPEC_FIELD_NUMBER: _ClassVar[int]
    ENV_VAR_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_SPEC_FIELD_NUMBER: _ClassVar[int]
    REPLICA_SPEC_FIELD_NUMBER: _ClassVar[int]
    START_REPLICA_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_STATUS_FIELD_NUMBER: _ClassVar[int]
    REPLICA_CHANGED_FIELD_NUMBER: _ClassVar[int]
    ASK_AGENT_FIELD_NUMBER: _ClassVar[int]
    AGENT_ANSWERED_FIELD_NUMBER: _ClassVar[int]
    AGENT_TUNED_FIELD_NUMBER: _ClassVar[int]
    request: int
    session_info: SessionInfo
    task_info: TaskInfo
    app_info: AppInfo
    node_info: NodeInfo
    executor_info: ExecutorInfo
    hello: Hello
    welcome: Welcome
    failure: Failure
    done: Done
    open_session: OpenSession
    close_session: CloseSession
    delete_session: DeleteSession
    get_session: GetSession
    list_sessions: ListSessions
    session_list: SessionList
    register_app: RegisterApp
    update_app: UpdateApp
    unregister_app: UnregisterApp
    get_app: GetApp
    list_apps: ListApps
    app_list: AppList
    list_nodes: ListNodes
    node_list: NodeList
    list_executors: ListExecutors
    executor_list: ExecutorList
    get_status: GetStatus
    status: Status
    explain: Explain
    explanation: Explanation
    get_logs: GetLogs
    log_list: LogList
    submit: Submit
    submitted: Submitted
    results: Results
    resume: Resume
    get_task: GetTask
    list_tasks: ListTasks
    task_list: TaskList
    watch_task: WatchTask
    unwatch: Unwatch
    task_changed: TaskChanged
    cancel_tasks: CancelTasks
    cancelled: Cancelled
    log_line: LogLine
    streamed: Streamed
    enter: Enter
    entered: Entered
    assign: Assign
    completed: Completed
    recorded: Recorded
    started: Started
    recall: Recall
    recalled: Recalled
    cancel_running: CancelRunning
    blocked: Blocked
    leave: Leave
    left: Left
    demand_changed: DemandChanged
    demand_gone: DemandGone
    executor_changed: ExecutorChanged
    kill_executor: KillExecutor
    granted: Granted
    drain_executor: DrainExecutor
    placement_gone: PlacementGone
    cluster_changed: ClusterChanged
    reasons: Reasons
    manager_joined: ManagerJoined
    placed: Placed
    register_node: RegisterNode
    heartbeat: Heartbeat
    release_node: ReleaseNode
    start_placement: StartPlacement
    stop_placement: StopPlacement
    placement_started: PlacementStarted
    placement_exited: PlacementExited
    share_blob: ShareBlob
    fetch_blob: FetchBlob
    blob: Blob
    identity: Identity
    tenant_info: TenantInfo
    tenant_use: TenantUse
    token_info: TokenInfo
    who_am_i: WhoAmI
    create_token: CreateToken
    token_created: TokenCreated
    revoke_token: RevokeToken
    list_tokens: ListTokens
    token_list: TokenList
    set_tenant: SetTenant
    drop_tenant: DropTenant
    list_tenants: ListTenants
    tenant_list: TenantList
    set_node: SetNode
    join_node: JoinNode
    node_admitted: NodeAdmitted
    redeem_token: RedeemToken
    identities: Identities
    taint: Taint
    put_object: PutObject
    object_put: ObjectPut
    get_object: GetObject
    object: Object
    list_objects: ListObjects
    object_list: ObjectList
    delete_object: DeleteObject
    watch_objects: WatchObjects
    object_change: ObjectChange
    object_changes: ObjectChanges
    debug_object: DebugObject
    call_replica: CallReplica
    replica_answer: ReplicaAnswer
    probe_spec: ProbeSpec
    port_spec: PortSpec
    mount_spec: MountSpec
    volume_spec: VolumeSpec
    env_var: EnvVar
    container_spec: ContainerSpec
    replica_spec: ReplicaSpec
    start_replica: StartReplica
    container_status: ContainerStatus
    replica_changed: ReplicaChanged
    ask_agent: AskAgent
    agent_answered: AgentAnswered
    agent_tuned: AgentTuned
    def __init__(self, request: _Optional[int] = ..., session_info: _Optional[_Union[SessionInfo, _Mapping]] = ..., task_info: _Optional[_Union[TaskInfo, _Mapping]] = ..., app_info: _Optional[_Union[AppInfo, _Mapping]] = ..., node_info: _Optional[_Union[NodeInfo, _Mapping]] = ..., executor_info: _Optional[_Union[ExecutorInfo, _Mapping]] = ..., hello: _Optional[_Union[Hello, _Mapping]] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., open_session: _Optional[_Union[OpenSession, _Mapping]] = ..., close_session: _Optional[_Union[CloseSession, _Mapping]] = ..., delete_session: _Optional[_Union[DeleteSession, _Mapping]] = ..., get_session: _Optional[_Union[GetSession, _Mapping]] = ..., list_sessions: _Optional[_Union[ListSessions, _Mapping]] = ..., session_list: _Optional[_Union[SessionList, _Mapping]] = ..., register_app: _Optional[_Union[RegisterApp, _Mapping]] = ..., update_app: _Optional[_Union[UpdateApp, _Mapping]] = ..., unregister_app: _Optional[_Union[UnregisterApp, _Mapping]] = ..., get_app: _Optional[_Union[GetApp, _Mapping]] = ..., list_apps: _Optional[_Union[ListApps, _Mapping]] = ..., app_list: _Optional[_Union[AppList, _Mapping]] = ..., list_nodes: _Optional[_Union[ListNodes, _Mapping]] = ..., node_list: _Optional[_Union[NodeList, _Mapping]] = ..., list_executors: _Optional[_Union[ListExecutors, _Mapping]] = ..., executor_list: _Optional[_Union[ExecutorList, _Mapping]] = ..., get_status: _Optional[_Union[GetStatus, _Mapping]] = ..., status: _Optional[_Union[Status, _Mapping]] = ..., explain: _Optional[_Union[Explain, _Mapping]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ..., get_logs: _Optional[_Union[GetLogs, _Mapping]] = ..., log_list: _Optional[_Union[LogList, _Mapping]] = ..., submit: _Optional[_Union[Submit, _Mapping]] = ..., submitted: _Optional[_Union[Submitted, _Mapping]] = ..., results: _Optional[_Union[Results, _Mapping]] = ..., resume: _Optional[_Union[Resume, _Mapping]] = ..., get_task: _Optional[_Union[GetTask, _Mapping]] = ..., list_tasks: _Optional[_Union[ListTasks, _Mapping]] = ..., task_list: _Optional[_Union[TaskList, _Mapping]] = ..., watch_task: _Optional[_Union[WatchTask, _Mapping]] = ..., unwatch: _Optional[_Union[Unwatch, _Mapping]] = ..., task_changed: _Optional[_Union[TaskChanged, _Mapping]] = ..., cancel_tasks: _Optional[_Union[CancelTasks, _Mapping]] = ..., cancelled: _Optional[_Union[Cancelled, _Mapping]] = ..., log_line: _Optional[_Union[LogLine, _Mapping]] = ..., streamed: _Optional[_Union[Streamed, _Mapping]] = ..., enter: _Optional[_Union[Enter, _Mapping]] = ..., entered: _Optional[_Union[Entered, _Mapping]] = ..., assign: _Optional[_Union[Assign, _Mapping]] = ..., completed: _Optional[_Union[Completed, _Mapping]] = ..., recorded: _Optional[_Union[Recorded, _Mapping]] = ..., started: _Optional[_Union[Started, _Mapping]] = ..., recall: _Optional[_Union[Recall, _Mapping]] = ..., recalled: _Optional[_Union[Recalled, _Mapping]] = ..., cancel_running: _Optional[_Union[CancelRunning, _Mapping]] = ..., blocked: _Optional[_Union[Blocked, _Mapping]] = ..., leave: _Optional[_Union[Leave, _Mapping]] = ..., left: _Optional[_Union[Left, _Mapping]] = ..., demand_changed: _Optional[_Union[DemandChanged, _Mapping]] = ..., demand_gone: _Optional[_Union[DemandGone, _Mapping]] = ..., executor_changed: _Optional[_Union[ExecutorChanged, _Mapping]] = ..., kill_executor: _Optional[_Union[KillExecutor, _Mapping]] = ..., granted: _Optional[_Union[Granted, _Mapping]] = ..., drain_executor: _Optional[_Union[DrainExecutor, _Mapping]] = ..., placement_gone: _Optional[_Union[PlacementGone, _Mapping]] = ..., cluster_changed: _Optional[_Union[ClusterChanged, _Mapping]] = ..., reasons: _Optional[_Union[Reasons, _Mapping]] = ..., manager_joined: _Optional[_Union[ManagerJoined, _Mapping]] = ..., placed: _Optional[_Union[Placed, _Mapping]] = ..., register_node: _Optional[_Union[RegisterNode, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., release_node: _Optional[_Union[ReleaseNode, _Mapping]] = ..., start_placement: _Optional[_Union[StartPlacement, _Mapping]] = ..., stop_placement: _Optional[_Union[StopPlacement, _Mapping]] = ..., placement_started: _Optional[_Union[PlacementStarted, _Mapping]] = ..., placement_exited: _Optional[_Union[PlacementExited, _Mapping]] = ..., share_blob: _Optional[_Union[ShareBlob, _Mapping]] = ..., fetch_blob: _Optional[_Union[FetchBlob, _Mapping]] = ..., blob: _Optional[_Union[Blob, _Mapping]] = ..., identity: _Optional[_Union[Identity, _Mapping]] = ..., tenant_info: _Optional[_Union[TenantInfo, _Mapping]] = ..., tenant_use: _Optional[_Union[TenantUse, _Mapping]] = ..., token_info: _Optional[_Union[TokenInfo, _Mapping]] = ..., who_am_i: _Optional[_Union[WhoAmI, _Mapping]] = ..., create_token: _Optional[_Union[CreateToken, _Mapping]] = ..., token_created: _Optional[_Union[TokenCreated, _Mapping]] = ..., revoke_token: _Optional[_Union[RevokeToken, _Mapping]] = ..., list_tokens: _Optional[_Union[ListTokens, _Mapping]] = ..., token_list: _Optional[_Union[TokenList, _Mapping]] = ..., set_tenant: _Optional[_Union[SetTenant, _Mapping]] = ..., drop_tenant: _Optional[_Union[DropTenant, _Mapping]] = ..., list_tenants: _Optional[_Union[ListTenants, _Mapping]] = ..., tenant_list: _Optional[_Union[TenantList, _Mapping]] = ..., set_node: _Optional[_Union[SetNode, _Mapping]] = ..., join_node: _Optional[_Union[JoinNode, _Mapping]] = ..., node_admitted: _Optional[_Union[NodeAdmitted, _Mapping]] = ..., redeem_token: _Optional[_Union[RedeemToken, _Mapping]] = ..., identities: _Optional[_Union[Identities, _Mapping]] = ..., taint: _Optional[_Union[Taint, _Mapping]] = ..., put_object: _Optional[_Union[PutObject, _Mapping]] = ..., object_put: _Optional[_Union[ObjectPut, _Mapping]] = ..., get_object: _Optional[_Union[GetObject, _Mapping]] = ..., object: _Optional[_Union[Object, _Mapping]] = ..., list_objects: _Optional[_Union[ListObjects, _Mapping]] = ..., object_list: _Optional[_Union[ObjectList, _Mapping]] = ..., delete_object: _Optional[_Union[DeleteObject, _Mapping]] = ..., watch_objects: _Optional[_Union[WatchObjects, _Mapping]] = ..., object_change: _Optional[_Union[ObjectChange, _Mapping]] = ..., object_changes: _Optional[_Union[ObjectChanges, _Mapping]] = ..., debug_object: _Optional[_Union[DebugObject, _Mapping]] = ..., call_replica: _Optional[_Union[CallReplica, _Mapping]] = ..., replica_answer: _Optional[_Union[ReplicaAnswer, _Mapping]] = ..., probe_spec: _Optional[_Union[ProbeSpec, _Mapping]] = ..., port_spec: _Optional[_Union[PortSpec, _Mapping]] = ..., mount_spec: _Optional[_Union[MountSpec, _Mapping]] = ..., volume_spec: _Optional[_Union[VolumeSpec, _Mapping]] = ..., env_var: _Optional[_Union[EnvVar, _Mapping]] = ..., container_spec: _Optional[_Union[ContainerSpec, _Mapping]] = ..., replica_spec: _Optional[_Union[ReplicaSpec, _Mapping]] = ..., start_replica: _Optional[_Union[StartReplica, _Mapping]] = ..., container_status: _Optional[_Union[ContainerStatus, _Mapping]] = ..., replica_changed: _Optional[_Union[ReplicaChanged, _Mapping]] = ..., ask_agent: _Optional[_Union[AskAgent, _Mapping]] = ..., agent_answered: _Optional[_Union[AgentAnswered, _Mapping]] = ..., agent_tuned: _Optional[_Union[AgentTuned, _Mapping]] = ...) -> None: ...

class SessionSpec(_message.Message):
    __slots__ = ("application", "common_data", "min_instances", "max_instances", "priority", "resources", "timeout", "wait_timeout", "retries", "backoff", "detached", "tenant", "namespace")
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    APPLICATION_FIELD_NUMBER: _ClassVar[int]
    COMMON_DATA_FIELD_NUMBER: _ClassVar[int]
    MIN_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    WAIT_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_FIELD_NUMBER: _ClassVar[int]
    DETACHED_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    application: str
    common_data: bytes
    min_instances: int
    max_instances: int
    priority: int
    resources: _containers.ScalarMap[str, int]
    timeout: float
    wait_timeout: float
    retries: int
    backoff: float
    detached: bool
    tenant: str
    namespace: str
    def __init__(self, application: _Optional[str] = ..., common_data: _Optional[bytes] = ..., min_instances: _Optional[int] = ..., max_instances: _Optional[int] = ..., priority: _Optional[int] = ..., resources: _Optional[_Mapping[str, int]] = ..., timeout: _Optional[float] = ..., wait_timeout: _Optional[float] = ..., retries: _Optional[int] = ..., backoff: _Optional[float] = ..., detached: _Optional[bool] = ..., tenant: _Optional[str] = ..., namespace: _Optional[str] = ...) -> None: ...

class EventInfo(_message.Message):
    __slots__ = ("code", "message", "at", "reason", "count", "last")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    at: float
    reason: str
    count: int
    last: float
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ..., at: _Optional[float] = ..., reason: _Optional[str] = ..., count: _Optional[int] = ..., last: _Optional[float] = ...) -> None: ...

class SessionInfo(_message.Message):
    __slots__ = ("id", "alias", "spec", "state", "created", "completed", "pending", "running", "succeed", "failed", "cancelled", "events", "slots", "closing")
    ID_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    SUCCEED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    CLOSING_FIELD_NUMBER: _ClassVar[int]
    id: str
    alias: int
    spec: SessionSpec
    state: int
    created: float
    completed: float
    pending: int
    running: int
    succeed: int
    failed: int
    cancelled: int
    events: _containers.RepeatedCompositeFieldContainer[EventInfo]
    slots: int
    closing: bool
    def __init__(self, id: _Optional[str] = ..., alias: _Optional[int] = ..., spec: _Optional[_Union[SessionSpec, _Mapping]] = ..., state: _Optional[int] = ..., created: _Optional[float] = ..., completed: _Optional[float] = ..., pending: _Optional[int] = ..., running: _Optional[int] = ..., succeed: _Optional[int] = ..., failed: _Optional[int] = ..., cancelled: _Optional[int] = ..., events: _Optional[_Iterable[_Union[EventInfo, _Mapping]]] = ..., slots: _Optional[int] = ..., closing: _Optional[bool] = ...) -> None: ...

class TaskInfo(_message.Message):
    __slots__ = ("session", "no", "state", "attempt", "created", "completed", "input", "output", "events")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NO_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    session: str
    no: int
    state: int
    attempt: int
    created: float
    completed: float
    input: bytes
    output: bytes
    events: _containers.RepeatedCompositeFieldContainer[EventInfo]
    def __init__(self, session: _Optional[str] = ..., no: _Optional[int] = ..., state: _Optional[int] = ..., attempt: _Optional[int] = ..., created: _Optional[float] = ..., completed: _Optional[float] = ..., input: _Optional[bytes] = ..., output: _Optional[bytes] = ..., events: _Optional[_Iterable[_Union[EventInfo, _Mapping]]] = ...) -> None: ...

class AppSpec(_message.Message):
    __slots__ = ("shim", "description", "labels", "image", "command", "arguments", "environments", "working_directory", "max_instances", "delay_release", "schema_input", "schema_output", "schema_common_data", "url", "installer")
    class EnvironmentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SHIM_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENTS_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    DELAY_RELEASE_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_INPUT_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_OUTPUT_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_COMMON_DATA_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    INSTALLER_FIELD_NUMBER: _ClassVar[int]
    shim: int
    description: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    image: str
    command: str
    arguments: _containers.RepeatedScalarFieldContainer[str]
    environments: _containers.ScalarMap[str, str]
    working_directory: str
    max_instances: int
    delay_release: float
    schema_input: str
    schema_output: str
    schema_common_data: str
    url: str
    installer: str
    def __init__(self, shim: _Optional[int] = ..., description: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ..., image: _Optional[str] = ..., command: _Optional[str] = ..., arguments: _Optional[_Iterable[str]] = ..., environments: _Optional[_Mapping[str, str]] = ..., working_directory: _Optional[str] = ..., max_instances: _Optional[int] = ..., delay_release: _Optional[float] = ..., schema_input: _Optional[str] = ..., schema_output: _Optional[str] = ..., schema_common_data: _Optional[str] = ..., url: _Optional[str] = ..., installer: _Optional[str] = ...) -> None: ...

class AppInfo(_message.Message):
    __slots__ = ("name", "spec", "state", "created")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: AppSpec
    state: int
    created: float
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[AppSpec, _Mapping]] = ..., state: _Optional[int] = ..., created: _Optional[float] = ...) -> None: ...

class NodeInfo(_message.Message):
    __slots__ = ("name", "state", "capacity", "allocatable", "arch", "os", "last_heartbeat", "labels", "driver", "cordoned", "address", "devices", "taints")
    class CapacityEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class AllocatableEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    ALLOCATABLE_FIELD_NUMBER: _ClassVar[int]
    ARCH_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    LAST_HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    CORDONED_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    TAINTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: int
    capacity: _containers.ScalarMap[str, int]
    allocatable: _containers.ScalarMap[str, int]
    arch: str
    os: str
    last_heartbeat: float
    labels: _containers.ScalarMap[str, str]
    driver: str
    cordoned: bool
    address: str
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    taints: _containers.RepeatedCompositeFieldContainer[Taint]
    def __init__(self, name: _Optional[str] = ..., state: _Optional[int] = ..., capacity: _Optional[_Mapping[str, int]] = ..., allocatable: _Optional[_Mapping[str, int]] = ..., arch: _Optional[str] = ..., os: _Optional[str] = ..., last_heartbeat: _Optional[float] = ..., labels: _Optional[_Mapping[str, str]] = ..., driver: _Optional[str] = ..., cordoned: _Optional[bool] = ..., address: _Optional[str] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., taints: _Optional[_Iterable[_Union[Taint, _Mapping]]] = ...) -> None: ...

class ExecutorInfo(_message.Message):
    __slots__ = ("id", "node", "state", "session", "resources", "shim", "pid")
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    SHIM_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    id: str
    node: str
    state: int
    session: str
    resources: _containers.ScalarMap[str, int]
    shim: int
    pid: int
    def __init__(self, id: _Optional[str] = ..., node: _Optional[str] = ..., state: _Optional[int] = ..., session: _Optional[str] = ..., resources: _Optional[_Mapping[str, int]] = ..., shim: _Optional[int] = ..., pid: _Optional[int] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("uuid", "model", "memory", "max_sharers", "enforced")
    UUID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    MAX_SHARERS_FIELD_NUMBER: _ClassVar[int]
    ENFORCED_FIELD_NUMBER: _ClassVar[int]
    uuid: str
    model: str
    memory: int
    max_sharers: int
    enforced: bool
    def __init__(self, uuid: _Optional[str] = ..., model: _Optional[str] = ..., memory: _Optional[int] = ..., max_sharers: _Optional[int] = ..., enforced: _Optional[bool] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("role", "magic", "version_min", "version_max", "features", "token", "client_id", "history", "session", "held", "python")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    MAGIC_FIELD_NUMBER: _ClassVar[int]
    VERSION_MIN_FIELD_NUMBER: _ClassVar[int]
    VERSION_MAX_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    role: str
    magic: str
    version_min: int
    version_max: int
    features: _containers.RepeatedScalarFieldContainer[str]
    token: str
    client_id: str
    history: str
    session: str
    held: _containers.RepeatedScalarFieldContainer[int]
    python: str
    def __init__(self, role: _Optional[str] = ..., magic: _Optional[str] = ..., version_min: _Optional[int] = ..., version_max: _Optional[int] = ..., features: _Optional[_Iterable[str]] = ..., token: _Optional[str] = ..., client_id: _Optional[str] = ..., history: _Optional[str] = ..., session: _Optional[str] = ..., held: _Optional[_Iterable[int]] = ..., python: _Optional[str] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("version", "epoch", "history", "durability", "cluster", "release", "features", "python", "shard", "shards")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    version: int
    epoch: int
    history: str
    durability: str
    cluster: str
    release: str
    features: _containers.RepeatedScalarFieldContainer[str]
    python: str
    shard: int
    shards: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[int] = ..., epoch: _Optional[int] = ..., history: _Optional[str] = ..., durability: _Optional[str] = ..., cluster: _Optional[str] = ..., release: _Optional[str] = ..., features: _Optional[_Iterable[str]] = ..., python: _Optional[str] = ..., shard: _Optional[int] = ..., shards: _Optional[_Iterable[str]] = ...) -> None: ...

class Failure(_message.Message):
    __slots__ = ("code", "message", "hint", "retry_after", "room")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    ROOM_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    hint: str
    retry_after: float
    room: int
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ..., retry_after: _Optional[float] = ..., room: _Optional[int] = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class OpenSession(_message.Message):
    __slots__ = ("id", "spec", "mode", "owned")
    ID_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    OWNED_FIELD_NUMBER: _ClassVar[int]
    id: str
    spec: SessionSpec
    mode: str
    owned: bool
    def __init__(self, id: _Optional[str] = ..., spec: _Optional[_Union[SessionSpec, _Mapping]] = ..., mode: _Optional[str] = ..., owned: _Optional[bool] = ...) -> None: ...

class CloseSession(_message.Message):
    __slots__ = ("id", "mode")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    id: str
    mode: str
    def __init__(self, id: _Optional[str] = ..., mode: _Optional[str] = ...) -> None: ...

class DeleteSession(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class GetSession(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class ListSessions(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SessionList(_message.Message):
    __slots__ = ("sessions",)
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    sessions: _containers.RepeatedCompositeFieldContainer[SessionInfo]
    def __init__(self, sessions: _Optional[_Iterable[_Union[SessionInfo, _Mapping]]] = ...) -> None: ...

class RegisterApp(_message.Message):
    __slots__ = ("name", "spec", "if_absent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    IF_ABSENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: AppSpec
    if_absent: bool
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[AppSpec, _Mapping]] = ..., if_absent: _Optional[bool] = ...) -> None: ...

class UpdateApp(_message.Message):
    __slots__ = ("name", "spec")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    name: str
    spec: AppSpec
    def __init__(self, name: _Optional[str] = ..., spec: _Optional[_Union[AppSpec, _Mapping]] = ...) -> None: ...

class UnregisterApp(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetApp(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ListApps(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AppList(_message.Message):
    __slots__ = ("apps",)
    APPS_FIELD_NUMBER: _ClassVar[int]
    apps: _containers.RepeatedCompositeFieldContainer[AppInfo]
    def __init__(self, apps: _Optional[_Iterable[_Union[AppInfo, _Mapping]]] = ...) -> None: ...

class ListNodes(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class NodeList(_message.Message):
    __slots__ = ("nodes",)
    NODES_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeInfo]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeInfo, _Mapping]]] = ...) -> None: ...

class ListExecutors(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ExecutorList(_message.Message):
    __slots__ = ("executors",)
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    executors: _containers.RepeatedCompositeFieldContainer[ExecutorInfo]
    def __init__(self, executors: _Optional[_Iterable[_Union[ExecutorInfo, _Mapping]]] = ...) -> None: ...

class GetStatus(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Status(_message.Message):
    __slots__ = ("release", "epoch", "history", "durability", "started", "sessions_open", "sessions_closed", "pending", "running", "nodes_ready", "nodes", "executors", "storage", "allocator", "memory")
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_OPEN_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_CLOSED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    NODES_READY_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    STORAGE_FIELD_NUMBER: _ClassVar[int]
    ALLOCATOR_FIELD_NUMBER: _ClassVar[int]
    MEMORY_FIELD_NUMBER: _ClassVar[int]
    release: str
    epoch: int
    history: str
    durability: str
    started: float
    sessions_open: int
    sessions_closed: int
    pending: int
    running: int
    nodes_ready: int
    nodes: int
    executors: int
    storage: str
    allocator: bool
    memory: int
    def __init__(self, release: _Optional[str] = ..., epoch: _Optional[int] = ..., history: _Optional[str] = ..., durability: _Optional[str] = ..., started: _Optional[float] = ..., sessions_open: _Optional[int] = ..., sessions_closed: _Optional[int] = ..., pending: _Optional[int] = ..., running: _Optional[int] = ..., nodes_ready: _Optional[int] = ..., nodes: _Optional[int] = ..., executors: _Optional[int] = ..., storage: _Optional[str] = ..., allocator: _Optional[bool] = ..., memory: _Optional[int] = ...) -> None: ...

class Explain(_message.Message):
    __slots__ = ("object",)
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    object: str
    def __init__(self, object: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("object", "reasons")
    OBJECT_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    object: str
    reasons: _containers.RepeatedCompositeFieldContainer[EventInfo]
    def __init__(self, object: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[EventInfo, _Mapping]]] = ...) -> None: ...

class GetLogs(_message.Message):
    __slots__ = ("session", "no")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NO_FIELD_NUMBER: _ClassVar[int]
    session: str
    no: int
    def __init__(self, session: _Optional[str] = ..., no: _Optional[int] = ...) -> None: ...

class LogList(_message.Message):
    __slots__ = ("lines",)
    LINES_FIELD_NUMBER: _ClassVar[int]
    lines: _containers.RepeatedCompositeFieldContainer[LogLine]
    def __init__(self, lines: _Optional[_Iterable[_Union[LogLine, _Mapping]]] = ...) -> None: ...

class Submit(_message.Message):
    __slots__ = ("session", "seq", "lengths", "blob", "retries", "timeout", "wait_timeout")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    WAIT_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    session: str
    seq: int
    lengths: bytes
    blob: bytes
    retries: int
    timeout: float
    wait_timeout: float
    def __init__(self, session: _Optional[str] = ..., seq: _Optional[int] = ..., lengths: _Optional[bytes] = ..., blob: _Optional[bytes] = ..., retries: _Optional[int] = ..., timeout: _Optional[float] = ..., wait_timeout: _Optional[float] = ...) -> None: ...

class Submitted(_message.Message):
    __slots__ = ("session", "seq", "first", "count")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    session: str
    seq: int
    first: int
    count: int
    def __init__(self, session: _Optional[str] = ..., seq: _Optional[int] = ..., first: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Results(_message.Message):
    __slots__ = ("session", "runs", "codes", "lengths", "blob")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    session: str
    runs: _containers.RepeatedScalarFieldContainer[int]
    codes: bytes
    lengths: bytes
    blob: bytes
    def __init__(self, session: _Optional[str] = ..., runs: _Optional[_Iterable[int]] = ..., codes: _Optional[bytes] = ..., lengths: _Optional[bytes] = ..., blob: _Optional[bytes] = ...) -> None: ...

class Resume(_message.Message):
    __slots__ = ("session", "has", "owned")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    HAS_FIELD_NUMBER: _ClassVar[int]
    OWNED_FIELD_NUMBER: _ClassVar[int]
    session: str
    has: _containers.RepeatedScalarFieldContainer[int]
    owned: bool
    def __init__(self, session: _Optional[str] = ..., has: _Optional[_Iterable[int]] = ..., owned: _Optional[bool] = ...) -> None: ...

class GetTask(_message.Message):
    __slots__ = ("session", "no")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NO_FIELD_NUMBER: _ClassVar[int]
    session: str
    no: int
    def __init__(self, session: _Optional[str] = ..., no: _Optional[int] = ...) -> None: ...

class ListTasks(_message.Message):
    __slots__ = ("session", "start", "limit", "payloads")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    session: str
    start: int
    limit: int
    payloads: bool
    def __init__(self, session: _Optional[str] = ..., start: _Optional[int] = ..., limit: _Optional[int] = ..., payloads: _Optional[bool] = ...) -> None: ...

class TaskList(_message.Message):
    __slots__ = ("tasks", "next")
    TASKS_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[TaskInfo]
    next: int
    def __init__(self, tasks: _Optional[_Iterable[_Union[TaskInfo, _Mapping]]] = ..., next: _Optional[int] = ...) -> None: ...

class WatchTask(_message.Message):
    __slots__ = ("session", "no", "watch")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NO_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    session: str
    no: int
    watch: int
    def __init__(self, session: _Optional[str] = ..., no: _Optional[int] = ..., watch: _Optional[int] = ...) -> None: ...

class Unwatch(_message.Message):
    __slots__ = ("watch",)
    WATCH_FIELD_NUMBER: _ClassVar[int]
    watch: int
    def __init__(self, watch: _Optional[int] = ...) -> None: ...

class TaskChanged(_message.Message):
    __slots__ = ("watch", "task")
    WATCH_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    watch: int
    task: TaskInfo
    def __init__(self, watch: _Optional[int] = ..., task: _Optional[_Union[TaskInfo, _Mapping]] = ...) -> None: ...

class CancelTasks(_message.Message):
    __slots__ = ("session", "runs", "kill")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    KILL_FIELD_NUMBER: _ClassVar[int]
    session: str
    runs: _containers.RepeatedScalarFieldContainer[int]
    kill: bool
    def __init__(self, session: _Optional[str] = ..., runs: _Optional[_Iterable[int]] = ..., kill: _Optional[bool] = ...) -> None: ...

class Cancelled(_message.Message):
    __slots__ = ("session", "runs")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    session: str
    runs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, session: _Optional[str] = ..., runs: _Optional[_Iterable[int]] = ...) -> None: ...

class LogLine(_message.Message):
    __slots__ = ("session", "no", "stream", "text", "at")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NO_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    session: str
    no: int
    stream: str
    text: str
    at: float
    def __init__(self, session: _Optional[str] = ..., no: _Optional[int] = ..., stream: _Optional[str] = ..., text: _Optional[str] = ..., at: _Optional[float] = ...) -> None: ...

class Streamed(_message.Message):
    __slots__ = ("session", "no", "attempt", "index", "payload")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NO_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    session: str
    no: int
    attempt: int
    index: int
    payload: bytes
    def __init__(self, session: _Optional[str] = ..., no: _Optional[int] = ..., attempt: _Optional[int] = ..., index: _Optional[int] = ..., payload: _Optional[bytes] = ...) -> None: ...

class Enter(_message.Message):
    __slots__ = ("session", "app", "spec", "common_data", "resources")
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SESSION_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    COMMON_DATA_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    session: str
    app: str
    spec: AppSpec
    common_data: bytes
    resources: _containers.ScalarMap[str, int]
    def __init__(self, session: _Optional[str] = ..., app: _Optional[str] = ..., spec: _Optional[_Union[AppSpec, _Mapping]] = ..., common_data: _Optional[bytes] = ..., resources: _Optional[_Mapping[str, int]] = ...) -> None: ...

class Entered(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class Assign(_message.Message):
    __slots__ = ("session", "runs", "lengths", "blob", "timeout")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    session: str
    runs: _containers.RepeatedScalarFieldContainer[int]
    lengths: bytes
    blob: bytes
    timeout: float
    def __init__(self, session: _Optional[str] = ..., runs: _Optional[_Iterable[int]] = ..., lengths: _Optional[bytes] = ..., blob: _Optional[bytes] = ..., timeout: _Optional[float] = ...) -> None: ...

class Completed(_message.Message):
    __slots__ = ("session", "seq", "runs", "codes", "lengths", "blob", "began", "ended")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SEQ_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    CODES_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    BEGAN_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    session: str
    seq: int
    runs: _containers.RepeatedScalarFieldContainer[int]
    codes: bytes
    lengths: bytes
    blob: bytes
    began: float
    ended: float
    def __init__(self, session: _Optional[str] = ..., seq: _Optional[int] = ..., runs: _Optional[_Iterable[int]] = ..., codes: _Optional[bytes] = ..., lengths: _Optional[bytes] = ..., blob: _Optional[bytes] = ..., began: _Optional[float] = ..., ended: _Optional[float] = ...) -> None: ...

class Recorded(_message.Message):
    __slots__ = ("seq",)
    SEQ_FIELD_NUMBER: _ClassVar[int]
    seq: int
    def __init__(self, seq: _Optional[int] = ...) -> None: ...

class Started(_message.Message):
    __slots__ = ("session", "no", "epoch", "lease", "at")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NO_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    session: str
    no: int
    epoch: int
    lease: int
    at: float
    def __init__(self, session: _Optional[str] = ..., no: _Optional[int] = ..., epoch: _Optional[int] = ..., lease: _Optional[int] = ..., at: _Optional[float] = ...) -> None: ...

class Recall(_message.Message):
    __slots__ = ("session", "runs")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    session: str
    runs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, session: _Optional[str] = ..., runs: _Optional[_Iterable[int]] = ...) -> None: ...

class Recalled(_message.Message):
    __slots__ = ("session", "runs")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RUNS_FIELD_NUMBER: _ClassVar[int]
    session: str
    runs: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, session: _Optional[str] = ..., runs: _Optional[_Iterable[int]] = ...) -> None: ...

class CancelRunning(_message.Message):
    __slots__ = ("session", "no", "epoch", "lease")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NO_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    session: str
    no: int
    epoch: int
    lease: int
    def __init__(self, session: _Optional[str] = ..., no: _Optional[int] = ..., epoch: _Optional[int] = ..., lease: _Optional[int] = ...) -> None: ...

class Blocked(_message.Message):
    __slots__ = ("session", "waiting")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    session: str
    waiting: bool
    def __init__(self, session: _Optional[str] = ..., waiting: _Optional[bool] = ...) -> None: ...

class Leave(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Left(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class DemandChanged(_message.Message):
    __slots__ = ("session", "app", "app_spec", "resources", "want", "idle", "min_instances", "max_instances", "priority", "created", "weight", "hold", "tenant", "namespace", "common_digest")
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    SESSION_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    APP_SPEC_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    WANT_FIELD_NUMBER: _ClassVar[int]
    IDLE_FIELD_NUMBER: _ClassVar[int]
    MIN_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    MAX_INSTANCES_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    COMMON_DIGEST_FIELD_NUMBER: _ClassVar[int]
    session: str
    app: str
    app_spec: AppSpec
    resources: _containers.ScalarMap[str, int]
    want: int
    idle: int
    min_instances: int
    max_instances: int
    priority: int
    created: float
    weight: int
    hold: bool
    tenant: str
    namespace: str
    common_digest: str
    def __init__(self, session: _Optional[str] = ..., app: _Optional[str] = ..., app_spec: _Optional[_Union[AppSpec, _Mapping]] = ..., resources: _Optional[_Mapping[str, int]] = ..., want: _Optional[int] = ..., idle: _Optional[int] = ..., min_instances: _Optional[int] = ..., max_instances: _Optional[int] = ..., priority: _Optional[int] = ..., created: _Optional[float] = ..., weight: _Optional[int] = ..., hold: _Optional[bool] = ..., tenant: _Optional[str] = ..., namespace: _Optional[str] = ..., common_digest: _Optional[str] = ...) -> None: ...

class DemandGone(_message.Message):
    __slots__ = ("session",)
    SESSION_FIELD_NUMBER: _ClassVar[int]
    session: str
    def __init__(self, session: _Optional[str] = ...) -> None: ...

class ExecutorChanged(_message.Message):
    __slots__ = ("placement", "session", "state", "idle", "lent")
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    IDLE_FIELD_NUMBER: _ClassVar[int]
    LENT_FIELD_NUMBER: _ClassVar[int]
    placement: str
    session: str
    state: int
    idle: bool
    lent: bool
    def __init__(self, placement: _Optional[str] = ..., session: _Optional[str] = ..., state: _Optional[int] = ..., idle: _Optional[bool] = ..., lent: _Optional[bool] = ...) -> None: ...

class KillExecutor(_message.Message):
    __slots__ = ("placement", "reason")
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    placement: str
    reason: str
    def __init__(self, placement: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Granted(_message.Message):
    __slots__ = ("placement", "session", "node", "token", "resources")
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    placement: str
    session: str
    node: str
    token: str
    resources: _containers.ScalarMap[str, int]
    def __init__(self, placement: _Optional[str] = ..., session: _Optional[str] = ..., node: _Optional[str] = ..., token: _Optional[str] = ..., resources: _Optional[_Mapping[str, int]] = ...) -> None: ...

class DrainExecutor(_message.Message):
    __slots__ = ("placement", "reason")
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    placement: str
    reason: str
    def __init__(self, placement: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class PlacementGone(_message.Message):
    __slots__ = ("placement", "session", "reason", "exit_code", "signal", "current", "log")
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    placement: str
    session: str
    reason: str
    exit_code: int
    signal: int
    current: _containers.RepeatedScalarFieldContainer[int]
    log: str
    def __init__(self, placement: _Optional[str] = ..., session: _Optional[str] = ..., reason: _Optional[str] = ..., exit_code: _Optional[int] = ..., signal: _Optional[int] = ..., current: _Optional[_Iterable[int]] = ..., log: _Optional[str] = ...) -> None: ...

class ClusterChanged(_message.Message):
    __slots__ = ("nodes", "executors")
    NODES_FIELD_NUMBER: _ClassVar[int]
    EXECUTORS_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[NodeInfo]
    executors: _containers.RepeatedCompositeFieldContainer[ExecutorInfo]
    def __init__(self, nodes: _Optional[_Iterable[_Union[NodeInfo, _Mapping]]] = ..., executors: _Optional[_Iterable[_Union[ExecutorInfo, _Mapping]]] = ...) -> None: ...

class Reasons(_message.Message):
    __slots__ = ("session", "reasons")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    session: str
    reasons: _containers.RepeatedCompositeFieldContainer[EventInfo]
    def __init__(self, session: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[EventInfo, _Mapping]]] = ...) -> None: ...

class ManagerJoined(_message.Message):
    __slots__ = ("address", "epoch", "placements", "shard")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    address: str
    epoch: int
    placements: _containers.RepeatedScalarFieldContainer[str]
    shard: int
    def __init__(self, address: _Optional[str] = ..., epoch: _Optional[int] = ..., placements: _Optional[_Iterable[str]] = ..., shard: _Optional[int] = ...) -> None: ...

class Placed(_message.Message):
    __slots__ = ("id", "session", "resources", "devices", "pid", "token", "shim", "address", "owner", "rank", "attempt", "replica")
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class DevicesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    SHIM_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    id: str
    session: str
    resources: _containers.ScalarMap[str, int]
    devices: _containers.ScalarMap[str, int]
    pid: int
    token: str
    shim: int
    address: str
    owner: str
    rank: int
    attempt: int
    replica: ReplicaChanged
    def __init__(self, id: _Optional[str] = ..., session: _Optional[str] = ..., resources: _Optional[_Mapping[str, int]] = ..., devices: _Optional[_Mapping[str, int]] = ..., pid: _Optional[int] = ..., token: _Optional[str] = ..., shim: _Optional[int] = ..., address: _Optional[str] = ..., owner: _Optional[str] = ..., rank: _Optional[int] = ..., attempt: _Optional[int] = ..., replica: _Optional[_Union[ReplicaChanged, _Mapping]] = ...) -> None: ...

class RegisterNode(_message.Message):
    __slots__ = ("name", "capacity", "allocatable", "arch", "os", "labels", "devices", "driver", "shim", "running", "grace", "address", "taints", "images", "runtimes", "max_workloads")
    class CapacityEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class AllocatableEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    ALLOCATABLE_FIELD_NUMBER: _ClassVar[int]
    ARCH_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    SHIM_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TAINTS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    RUNTIMES_FIELD_NUMBER: _ClassVar[int]
    MAX_WORKLOADS_FIELD_NUMBER: _ClassVar[int]
    name: str
    capacity: _containers.ScalarMap[str, int]
    allocatable: _containers.ScalarMap[str, int]
    arch: str
    os: str
    labels: _containers.ScalarMap[str, str]
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    driver: str
    shim: int
    running: _containers.RepeatedCompositeFieldContainer[Placed]
    grace: float
    address: str
    taints: _containers.RepeatedCompositeFieldContainer[Taint]
    images: _containers.RepeatedScalarFieldContainer[str]
    runtimes: _containers.RepeatedScalarFieldContainer[str]
    max_workloads: int
    def __init__(self, name: _Optional[str] = ..., capacity: _Optional[_Mapping[str, int]] = ..., allocatable: _Optional[_Mapping[str, int]] = ..., arch: _Optional[str] = ..., os: _Optional[str] = ..., labels: _Optional[_Mapping[str, str]] = ..., devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ..., driver: _Optional[str] = ..., shim: _Optional[int] = ..., running: _Optional[_Iterable[_Union[Placed, _Mapping]]] = ..., grace: _Optional[float] = ..., address: _Optional[str] = ..., taints: _Optional[_Iterable[_Union[Taint, _Mapping]]] = ..., images: _Optional[_Iterable[str]] = ..., runtimes: _Optional[_Iterable[str]] = ..., max_workloads: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("node", "at")
    NODE_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    node: str
    at: float
    def __init__(self, node: _Optional[str] = ..., at: _Optional[float] = ...) -> None: ...

class ReleaseNode(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class StartPlacement(_message.Message):
    __slots__ = ("id", "node", "session", "app", "spec", "resources", "devices", "address", "token", "limits")
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class DevicesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    id: str
    node: str
    session: str
    app: str
    spec: AppSpec
    resources: _containers.ScalarMap[str, int]
    devices: _containers.ScalarMap[str, int]
    address: str
    token: str
    limits: _containers.ScalarMap[str, int]
    def __init__(self, id: _Optional[str] = ..., node: _Optional[str] = ..., session: _Optional[str] = ..., app: _Optional[str] = ..., spec: _Optional[_Union[AppSpec, _Mapping]] = ..., resources: _Optional[_Mapping[str, int]] = ..., devices: _Optional[_Mapping[str, int]] = ..., address: _Optional[str] = ..., token: _Optional[str] = ..., limits: _Optional[_Mapping[str, int]] = ...) -> None: ...

class StopPlacement(_message.Message):
    __slots__ = ("id", "grace", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    grace: float
    reason: str
    def __init__(self, id: _Optional[str] = ..., grace: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class PlacementStarted(_message.Message):
    __slots__ = ("id", "pid")
    ID_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    id: str
    pid: int
    def __init__(self, id: _Optional[str] = ..., pid: _Optional[int] = ...) -> None: ...

class PlacementExited(_message.Message):
    __slots__ = ("id", "exit_code", "signal", "current", "log", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    exit_code: int
    signal: int
    current: _containers.RepeatedScalarFieldContainer[int]
    log: str
    reason: str
    def __init__(self, id: _Optional[str] = ..., exit_code: _Optional[int] = ..., signal: _Optional[int] = ..., current: _Optional[_Iterable[int]] = ..., log: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ShareBlob(_message.Message):
    __slots__ = ("session", "digest", "blob")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    session: str
    digest: str
    blob: bytes
    def __init__(self, session: _Optional[str] = ..., digest: _Optional[str] = ..., blob: _Optional[bytes] = ...) -> None: ...

class FetchBlob(_message.Message):
    __slots__ = ("session", "digest")
    SESSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    session: str
    digest: str
    def __init__(self, session: _Optional[str] = ..., digest: _Optional[str] = ...) -> None: ...

class Blob(_message.Message):
    __slots__ = ("blob",)
    BLOB_FIELD_NUMBER: _ClassVar[int]
    blob: bytes
    def __init__(self, blob: _Optional[bytes] = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ("name", "role", "tenant", "kind", "token", "expires")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: str
    tenant: str
    kind: str
    token: str
    expires: float
    def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., tenant: _Optional[str] = ..., kind: _Optional[str] = ..., token: _Optional[str] = ..., expires: _Optional[float] = ...) -> None: ...

class TenantInfo(_message.Message):
    __slots__ = ("name", "weight", "max_sessions", "max_queued", "max_bytes", "created")
    NAME_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_SESSIONS_FIELD_NUMBER: _ClassVar[int]
    MAX_QUEUED_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    name: str
    weight: int
    max_sessions: int
    max_queued: int
    max_bytes: int
    created: float
    def __init__(self, name: _Optional[str] = ..., weight: _Optional[int] = ..., max_sessions: _Optional[int] = ..., max_queued: _Optional[int] = ..., max_bytes: _Optional[int] = ..., created: _Optional[float] = ...) -> None: ...

class TenantUse(_message.Message):
    __slots__ = ("tenant", "sessions", "queued", "bytes")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SESSIONS_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    tenant: TenantInfo
    sessions: int
    queued: int
    bytes: int
    def __init__(self, tenant: _Optional[_Union[TenantInfo, _Mapping]] = ..., sessions: _Optional[int] = ..., queued: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class TokenInfo(_message.Message):
    __slots__ = ("id", "name", "role", "tenant", "created", "expires", "digest", "by")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    role: str
    tenant: str
    created: float
    expires: float
    digest: str
    by: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., role: _Optional[str] = ..., tenant: _Optional[str] = ..., created: _Optional[float] = ..., expires: _Optional[float] = ..., digest: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class WhoAmI(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CreateToken(_message.Message):
    __slots__ = ("name", "role", "tenant", "ttl", "by")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    role: str
    tenant: str
    ttl: float
    by: str
    def __init__(self, name: _Optional[str] = ..., role: _Optional[str] = ..., tenant: _Optional[str] = ..., ttl: _Optional[float] = ..., by: _Optional[str] = ...) -> None: ...

class TokenCreated(_message.Message):
    __slots__ = ("info", "token")
    INFO_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    info: TokenInfo
    token: str
    def __init__(self, info: _Optional[_Union[TokenInfo, _Mapping]] = ..., token: _Optional[str] = ...) -> None: ...

class RevokeToken(_message.Message):
    __slots__ = ("id", "by")
    ID_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    id: str
    by: str
    def __init__(self, id: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class ListTokens(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TokenList(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[TokenInfo]
    def __init__(self, tokens: _Optional[_Iterable[_Union[TokenInfo, _Mapping]]] = ...) -> None: ...

class SetTenant(_message.Message):
    __slots__ = ("tenant", "by")
    TENANT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    tenant: TenantInfo
    by: str
    def __init__(self, tenant: _Optional[_Union[TenantInfo, _Mapping]] = ..., by: _Optional[str] = ...) -> None: ...

class DropTenant(_message.Message):
    __slots__ = ("name", "by")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    by: str
    def __init__(self, name: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class ListTenants(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TenantList(_message.Message):
    __slots__ = ("tenants",)
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[TenantUse]
    def __init__(self, tenants: _Optional[_Iterable[_Union[TenantUse, _Mapping]]] = ...) -> None: ...

class SetNode(_message.Message):
    __slots__ = ("name", "cordon", "drain", "by")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CORDON_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    name: str
    cordon: bool
    drain: bool
    by: str
    def __init__(self, name: _Optional[str] = ..., cordon: _Optional[bool] = ..., drain: _Optional[bool] = ..., by: _Optional[str] = ...) -> None: ...

class JoinNode(_message.Message):
    __slots__ = ("name", "request", "hosts")
    NAME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    request: bytes
    hosts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., request: _Optional[bytes] = ..., hosts: _Optional[_Iterable[str]] = ...) -> None: ...

class NodeAdmitted(_message.Message):
    __slots__ = ("name", "certificate", "authority", "addresses")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_FIELD_NUMBER: _ClassVar[int]
    AUTHORITY_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    name: str
    certificate: bytes
    authority: bytes
    addresses: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., certificate: _Optional[bytes] = ..., authority: _Optional[bytes] = ..., addresses: _Optional[_Iterable[str]] = ...) -> None: ...

class RedeemToken(_message.Message):
    __slots__ = ("id", "node")
    ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    id: str
    node: str
    def __init__(self, id: _Optional[str] = ..., node: _Optional[str] = ...) -> None: ...

class Identities(_message.Message):
    __slots__ = ("tenants", "tokens")
    TENANTS_FIELD_NUMBER: _ClassVar[int]
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tenants: _containers.RepeatedCompositeFieldContainer[TenantInfo]
    tokens: _containers.RepeatedCompositeFieldContainer[TokenInfo]
    def __init__(self, tenants: _Optional[_Iterable[_Union[TenantInfo, _Mapping]]] = ..., tokens: _Optional[_Iterable[_Union[TokenInfo, _Mapping]]] = ...) -> None: ...

class Taint(_message.Message):
    __slots__ = ("key", "value", "effect")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    EFFECT_FIELD_NUMBER: _ClassVar[int]
    key: str
    value: str
    effect: str
    def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ..., effect: _Optional[str] = ...) -> None: ...

class PutObject(_message.Message):
    __slots__ = ("mode", "kind", "namespace", "name", "body", "subresource", "dry_run", "tenant", "by", "subject")
    MODE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    SUBRESOURCE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    mode: str
    kind: str
    namespace: str
    name: str
    body: bytes
    subresource: str
    dry_run: bool
    tenant: str
    by: str
    subject: str
    def __init__(self, mode: _Optional[str] = ..., kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., body: _Optional[bytes] = ..., subresource: _Optional[str] = ..., dry_run: _Optional[bool] = ..., tenant: _Optional[str] = ..., by: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...

class ObjectPut(_message.Message):
    __slots__ = ("body", "change", "warnings")
    BODY_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    change: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, body: _Optional[bytes] = ..., change: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class GetObject(_message.Message):
    __slots__ = ("kind", "namespace", "name", "tenant", "subject")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    name: str
    tenant: str
    subject: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., tenant: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...

class Object(_message.Message):
    __slots__ = ("body",)
    BODY_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    def __init__(self, body: _Optional[bytes] = ...) -> None: ...

class ListObjects(_message.Message):
    __slots__ = ("kind", "namespace", "labels", "fields", "limit", "after", "tenant", "subject")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    labels: str
    fields: str
    limit: int
    after: str
    tenant: str
    subject: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., labels: _Optional[str] = ..., fields: _Optional[str] = ..., limit: _Optional[int] = ..., after: _Optional[str] = ..., tenant: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...

class ObjectList(_message.Message):
    __slots__ = ("bodies", "version", "after", "remaining")
    BODIES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    bodies: _containers.RepeatedScalarFieldContainer[bytes]
    version: int
    after: str
    remaining: int
    def __init__(self, bodies: _Optional[_Iterable[bytes]] = ..., version: _Optional[int] = ..., after: _Optional[str] = ..., remaining: _Optional[int] = ...) -> None: ...

class DeleteObject(_message.Message):
    __slots__ = ("kind", "namespace", "name", "dry_run", "grace", "version", "tenant", "by", "subject")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    name: str
    dry_run: bool
    grace: float
    version: int
    tenant: str
    by: str
    subject: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., dry_run: _Optional[bool] = ..., grace: _Optional[float] = ..., version: _Optional[int] = ..., tenant: _Optional[str] = ..., by: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...

class WatchObjects(_message.Message):
    __slots__ = ("kind", "since", "namespace", "labels", "fields", "wait", "tenant", "subject")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    since: int
    namespace: str
    labels: str
    fields: str
    wait: float
    tenant: str
    subject: str
    def __init__(self, kind: _Optional[str] = ..., since: _Optional[int] = ..., namespace: _Optional[str] = ..., labels: _Optional[str] = ..., fields: _Optional[str] = ..., wait: _Optional[float] = ..., tenant: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...

class ObjectChange(_message.Message):
    __slots__ = ("change", "version", "body")
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    change: str
    version: int
    body: bytes
    def __init__(self, change: _Optional[str] = ..., version: _Optional[int] = ..., body: _Optional[bytes] = ...) -> None: ...

class ObjectChanges(_message.Message):
    __slots__ = ("changes", "version")
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[ObjectChange]
    version: int
    def __init__(self, changes: _Optional[_Iterable[_Union[ObjectChange, _Mapping]]] = ..., version: _Optional[int] = ...) -> None: ...

class DebugObject(_message.Message):
    __slots__ = ("kind", "namespace", "name", "tenant")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    name: str
    tenant: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., tenant: _Optional[str] = ...) -> None: ...

class CallReplica(_message.Message):
    __slots__ = ("verb", "name", "namespace", "container", "id", "body", "offset", "limit", "wait", "previous", "tenant", "by", "subject")
    VERB_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    CONTAINER_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    verb: str
    name: str
    namespace: str
    container: str
    id: str
    body: bytes
    offset: int
    limit: int
    wait: float
    previous: bool
    tenant: str
    by: str
    subject: str
    def __init__(self, verb: _Optional[str] = ..., name: _Optional[str] = ..., namespace: _Optional[str] = ..., container: _Optional[str] = ..., id: _Optional[str] = ..., body: _Optional[bytes] = ..., offset: _Optional[int] = ..., limit: _Optional[int] = ..., wait: _Optional[float] = ..., previous: _Optional[bool] = ..., tenant: _Optional[str] = ..., by: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...

class ReplicaAnswer(_message.Message):
    __slots__ = ("data", "offset", "ended", "id", "code")
    DATA_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    offset: int
    ended: bool
    id: str
    code: int
    def __init__(self, data: _Optional[bytes] = ..., offset: _Optional[int] = ..., ended: _Optional[bool] = ..., id: _Optional[str] = ..., code: _Optional[int] = ...) -> None: ...

class ProbeSpec(_message.Message):
    __slots__ = ("kind", "port", "path", "host", "scheme", "headers", "command", "initial_delay", "period", "timeout", "success", "failure")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    KIND_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    INITIAL_DELAY_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    port: str
    path: str
    host: str
    scheme: str
    headers: _containers.ScalarMap[str, str]
    command: _containers.RepeatedScalarFieldContainer[str]
    initial_delay: float
    period: float
    timeout: float
    success: int
    failure: int
    def __init__(self, kind: _Optional[str] = ..., port: _Optional[str] = ..., path: _Optional[str] = ..., host: _Optional[str] = ..., scheme: _Optional[str] = ..., headers: _Optional[_Mapping[str, str]] = ..., command: _Optional[_Iterable[str]] = ..., initial_delay: _Optional[float] = ..., period: _Optional[float] = ..., timeout: _Optional[float] = ..., success: _Optional[int] = ..., failure: _Optional[int] = ...) -> None: ...

class PortSpec(_message.Message):
    __slots__ = ("name", "port", "protocol", "host_port")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    HOST_PORT_FIELD_NUMBER: _ClassVar[int]
    name: str
    port: int
    protocol: str
    host_port: int
    def __init__(self, name: _Optional[str] = ..., port: _Optional[int] = ..., protocol: _Optional[str] = ..., host_port: _Optional[int] = ...) -> None: ...

class MountSpec(_message.Message):
    __slots__ = ("volume", "path", "read_only", "sub_path")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    SUB_PATH_FIELD_NUMBER: _ClassVar[int]
    volume: str
    path: str
    read_only: bool
    sub_path: str
    def __init__(self, volume: _Optional[str] = ..., path: _Optional[str] = ..., read_only: _Optional[bool] = ..., sub_path: _Optional[str] = ...) -> None: ...

class VolumeSpec(_message.Message):
    __slots__ = ("name", "kind", "source", "files", "read_only")
    class FilesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    READ_ONLY_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    source: str
    files: _containers.ScalarMap[str, bytes]
    read_only: bool
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., source: _Optional[str] = ..., files: _Optional[_Mapping[str, bytes]] = ..., read_only: _Optional[bool] = ...) -> None: ...

class EnvVar(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class ContainerSpec(_message.Message):
    __slots__ = ("name", "image", "command", "args", "env", "working_dir", "ports", "mounts", "requests", "limits", "liveness", "readiness", "startup", "pre_stop", "grace", "pull")
    class RequestsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_FIELD_NUMBER: _ClassVar[int]
    ARGS_FIELD_NUMBER: _ClassVar[int]
    ENV_FIELD_NUMBER: _ClassVar[int]
    WORKING_DIR_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    MOUNTS_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    LIVENESS_FIELD_NUMBER: _ClassVar[int]
    READINESS_FIELD_NUMBER: _ClassVar[int]
    STARTUP_FIELD_NUMBER: _ClassVar[int]
    PRE_STOP_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    PULL_FIELD_NUMBER: _ClassVar[int]
    name: str
    image: str
    command: _containers.RepeatedScalarFieldContainer[str]
    args: _containers.RepeatedScalarFieldContainer[str]
    env: _containers.RepeatedCompositeFieldContainer[EnvVar]
    working_dir: str
    ports: _containers.RepeatedCompositeFieldContainer[PortSpec]
    mounts: _containers.RepeatedCompositeFieldContainer[MountSpec]
    requests: _containers.ScalarMap[str, int]
    limits: _containers.ScalarMap[str, int]
    liveness: ProbeSpec
    readiness: ProbeSpec
    startup: ProbeSpec
    pre_stop: _containers.RepeatedScalarFieldContainer[str]
    grace: float
    pull: str
    def __init__(self, name: _Optional[str] = ..., image: _Optional[str] = ..., command: _Optional[_Iterable[str]] = ..., args: _Optional[_Iterable[str]] = ..., env: _Optional[_Iterable[_Union[EnvVar, _Mapping]]] = ..., working_dir: _Optional[str] = ..., ports: _Optional[_Iterable[_Union[PortSpec, _Mapping]]] = ..., mounts: _Optional[_Iterable[_Union[MountSpec, _Mapping]]] = ..., requests: _Optional[_Mapping[str, int]] = ..., limits: _Optional[_Mapping[str, int]] = ..., liveness: _Optional[_Union[ProbeSpec, _Mapping]] = ..., readiness: _Optional[_Union[ProbeSpec, _Mapping]] = ..., startup: _Optional[_Union[ProbeSpec, _Mapping]] = ..., pre_stop: _Optional[_Iterable[str]] = ..., grace: _Optional[float] = ..., pull: _Optional[str] = ...) -> None: ...

class ReplicaSpec(_message.Message):
    __slots__ = ("workload", "workload_id", "name", "namespace", "rank", "world_size", "attempt", "containers", "init", "volumes", "labels", "restart", "backoff_limit", "grace", "rendezvous", "runtime", "tenant", "deadline")
    class LabelsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WORLD_SIZE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    INIT_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    RESTART_FIELD_NUMBER: _ClassVar[int]
    BACKOFF_LIMIT_FIELD_NUMBER: _ClassVar[int]
    GRACE_FIELD_NUMBER: _ClassVar[int]
    RENDEZVOUS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    workload: str
    workload_id: str
    name: str
    namespace: str
    rank: int
    world_size: int
    attempt: int
    containers: _containers.RepeatedCompositeFieldContainer[ContainerSpec]
    init: _containers.RepeatedCompositeFieldContainer[ContainerSpec]
    volumes: _containers.RepeatedCompositeFieldContainer[VolumeSpec]
    labels: _containers.ScalarMap[str, str]
    restart: str
    backoff_limit: int
    grace: float
    rendezvous: str
    runtime: str
    tenant: str
    deadline: float
    def __init__(self, workload: _Optional[str] = ..., workload_id: _Optional[str] = ..., name: _Optional[str] = ..., namespace: _Optional[str] = ..., rank: _Optional[int] = ..., world_size: _Optional[int] = ..., attempt: _Optional[int] = ..., containers: _Optional[_Iterable[_Union[ContainerSpec, _Mapping]]] = ..., init: _Optional[_Iterable[_Union[ContainerSpec, _Mapping]]] = ..., volumes: _Optional[_Iterable[_Union[VolumeSpec, _Mapping]]] = ..., labels: _Optional[_Mapping[str, str]] = ..., restart: _Optional[str] = ..., backoff_limit: _Optional[int] = ..., grace: _Optional[float] = ..., rendezvous: _Optional[str] = ..., runtime: _Optional[str] = ..., tenant: _Optional[str] = ..., deadline: _Optional[float] = ...) -> None: ...

class StartReplica(_message.Message):
    __slots__ = ("id", "node", "owner", "spec", "resources", "devices", "gpu_memory", "endpoint", "token")
    class ResourcesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class DevicesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    class GpuMemoryEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    RESOURCES_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    GPU_MEMORY_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    id: str
    node: str
    owner: str
    spec: ReplicaSpec
    resources: _containers.ScalarMap[str, int]
    devices: _containers.ScalarMap[str, int]
    gpu_memory: _containers.ScalarMap[str, int]
    endpoint: str
    token: str
    def __init__(self, id: _Optional[str] = ..., node: _Optional[str] = ..., owner: _Optional[str] = ..., spec: _Optional[_Union[ReplicaSpec, _Mapping]] = ..., resources: _Optional[_Mapping[str, int]] = ..., devices: _Optional[_Mapping[str, int]] = ..., gpu_memory: _Optional[_Mapping[str, int]] = ..., endpoint: _Optional[str] = ..., token: _Optional[str] = ...) -> None: ...

class ContainerStatus(_message.Message):
    __slots__ = ("name", "state", "reason", "message", "ready", "restarts", "pid", "exit_code", "signal", "started", "finished", "last", "init")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    RESTARTS_FIELD_NUMBER: _ClassVar[int]
    PID_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    INIT_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    reason: str
    message: str
    ready: bool
    restarts: int
    pid: int
    exit_code: int
    signal: int
    started: float
    finished: float
    last: str
    init: bool
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., ready: _Optional[bool] = ..., restarts: _Optional[int] = ..., pid: _Optional[int] = ..., exit_code: _Optional[int] = ..., signal: _Optional[int] = ..., started: _Optional[float] = ..., finished: _Optional[float] = ..., last: _Optional[str] = ..., init: _Optional[bool] = ...) -> None: ...

class ReplicaChanged(_message.Message):
    __slots__ = ("id", "phase", "ready", "reason", "message", "containers", "ports", "log", "started")
    class PortsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CONTAINERS_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    id: str
    phase: str
    ready: bool
    reason: str
    message: str
    containers: _containers.RepeatedCompositeFieldContainer[ContainerStatus]
    ports: _containers.ScalarMap[str, int]
    log: str
    started: float
    def __init__(self, id: _Optional[str] = ..., phase: _Optional[str] = ..., ready: _Optional[bool] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ..., containers: _Optional[_Iterable[_Union[ContainerStatus, _Mapping]]] = ..., ports: _Optional[_Mapping[str, int]] = ..., log: _Optional[str] = ..., started: _Optional[float] = ...) -> None: ...

class AskAgent(_message.Message):
    __slots__ = ("number", "placement", "call")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PLACEMENT_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    number: int
    placement: str
    call: CallReplica
    def __init__(self, number: _Optional[int] = ..., placement: _Optional[str] = ..., call: _Optional[_Union[CallReplica, _Mapping]] = ...) -> None: ...

class AgentAnswered(_message.Message):
    __slots__ = ("number", "answer", "failure")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ANSWER_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    number: int
    answer: ReplicaAnswer
    failure: Failure
    def __init__(self, number: _Optional[int] = ..., answer: _Optional[_Union[ReplicaAnswer, _Mapping]] = ..., failure: _Optional[_Union[Failure, _Mapping]] = ...) -> None: ...

class AgentTuned(_message.Message):
    __slots__ = ("beat", "look")
    BEAT_FIELD_NUMBER: _ClassVar[int]
    LOOK_FIELD_NUMBER: _ClassVar[int]
    beat: float
    look: float
    def __init__(self, beat: _Optional[float] = ..., look: _Optional[float] = ...) -> None: ...
