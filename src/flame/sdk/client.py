"""A client of one cluster."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from flame.core.base.errors import AlreadyExists, FlameError, InvalidArgument
from flame.core.base.ids import session_id
from flame.core.base.quantity import parse_resources
from flame.core.model import messages as m
from flame.core.model.access import ACCOUNT, account_name
from flame.core.peers.client import ClientPeer
from flame.sdk.link import PATIENCE, Link
from flame.sdk.session import Session
from flame.sdk.shards import Links

if TYPE_CHECKING:
    from types import TracebackType

    from flame.sdk.local import PrivateCluster
    from flame.sdk.objects import Objects
    from flame.sdk.service import FlameService
    from flame.sdk.target import Target
    from flame.shell.address import Address

M = TypeVar("M", bound=m.Message)
_COUNTED = ("sessions_open", "sessions_closed", "pending", "running", "memory")


class Client:
    """Made by `flame.connect`. Threads may share it; after a fork the child needs its own."""

    def __init__(
        self,
        target: Target,
        private: PrivateCluster | None = None,
        tenant: str | None = None,
        patience: float = PATIENCE,
        via: Callable[[Address], Address] | None = None,
    ) -> None:
        """via: where to reach a session manager instead of at the address that the cluster names, see `Links`."""
        self.endpoint = str(target)
        self.private = private
        self.tenant = tenant

        def make(where: Target) -> Link:
            peer = ClientPeer(f"client-{secrets.token_hex(8)}", where.token)
            return Link(where, peer, private.alive if private else lambda: True, patience=patience)

        self.link = make(target)
        self.links = Links(self.link, target, make, via)

    # -- sessions --------------------------------------------------------------------------------------------------------

    def session(
        self,
        app: str | type[FlameService],
        *,
        id: str | None = None,
        common_data: bytes | None = None,
        priority: int = 0,
        resources: str | Mapping[str, int] | None = None,
        min_instances: int = 0,
        max_instances: int | None = None,
        timeout: float | None = None,
        wait_timeout: float | None = None,
        retries: int = 0,
        backoff: float = 0.1,
        detached: bool = False,
    ) -> Session:
        """Create a session of an application (a registered name, or a FlameService class, which is registered by itself).

        resources: of one executor, such as "cpu=1,mem=1g" (None: the cluster's default); timeout: seconds one task may run; wait_timeout:
        seconds it may wait before it first starts; retries: attempts after the first failed one, `backoff` seconds apart, doubling;
        detached: the session survives this client (others close 60 s after it is gone).
        Raises NotFound for an unknown application, AlreadyExists, InvalidArgument.
        """
        name = app if isinstance(app, str) else self._register_class(app)
        spec = self._spec(
            name, common_data=common_data, priority=priority, resources=resources, min_instances=min_instances,
            max_instances=max_instances, timeout=timeout, wait_timeout=wait_timeout, retries=retries, backoff=backoff, detached=detached,
        )  # fmt: skip
        chosen = id if id is not None else session_id(name[:100], secrets.randbelow)
        try:
            info = self._ask(m.OpenSession(chosen, spec, "create", owned=not detached), m.SessionInfo, of=chosen)
        except AlreadyExists:
            if id is not None:
                raise
            # Our own id: the first answer was lost with its connection.
            info = self._ask(m.GetSession(chosen), m.SessionInfo, of=chosen)
        return Session(self.links.of(chosen), info, owned=not detached)

    def _spec(
        self, application: str, *, resources: str | Mapping[str, int] | None, common_data: bytes | None, **more: Any
    ) -> m.SessionSpec:
        if common_data is not None and not isinstance(common_data, bytes):
            raise InvalidArgument(f"common_data is bytes or None, not {type(common_data).__name__}")
        for key in ("priority", "min_instances", "max_instances", "retries"):
            value = more.get(key)
            if value is not None and (not isinstance(value, int) or value < 0):
                raise InvalidArgument(f"{key}={value!r}; a number from 0 on")
        if not isinstance(resources, str | Mapping | None):
            raise InvalidArgument(f"resources={resources!r}", hint='a text such as "cpu=1,mem=1g"')
        if isinstance(resources, Mapping) and not all(isinstance(amount, int) for amount in resources.values()):
            raise InvalidArgument(
                f"resources={dict(resources)!r}: whole numbers, of thousandths of a cpu or gpu and bytes of memory",
                hint='or a text such as "cpu=1,mem=1g"',
            )
        sizes = parse_resources(resources) if isinstance(resources, str) else dict(resources or {})
        if self.tenant is not None:
            more["tenant"] = self.tenant
        return m.SessionSpec(application, common_data, resources=sizes, **more)

    def open_session(self, id: str, app: str | None = None, **options: Any) -> Session:
        """Join an open session; with `app` (and the options of `session`) create it when it is not there.

        Raises NotFound, SessionClosed, SpecMismatch (naming the first field that differs)."""
        spec = None
        if app is not None:
            common = options.pop("common_data", None)
            spec = self._spec(app, resources=options.pop("resources", None), common_data=common, **options)
        info = self._ask(m.OpenSession(id, spec, "either" if spec else "open"), m.SessionInfo, of=id)
        return Session(self.links.of(id), info, owned=False)

    def get_session(self, id: str) -> m.SessionInfo:
        """By id or numeric alias. Raises NotFound."""
        return self._ask(m.GetSession(str(id)), m.SessionInfo, of=str(id))

    def list_sessions(self) -> list[m.SessionInfo]:
        return [info for found in self._ask_all(m.ListSessions(), m.SessionList) for info in found.sessions]

    def close_session(self, id: str, mode: str = "drain", timeout: float | None = None) -> m.SessionInfo:
        """See `Session.close`."""
        info = self.get_session(id)
        return self._ask(m.CloseSession(info.id, mode), m.SessionInfo, timeout, of=info.id)

    def delete_session(self, id: str) -> m.SessionInfo:
        """A closed session with its tasks. Raises NotFound, InvalidState for an open one."""
        info = self.get_session(id)
        return self._ask(m.DeleteSession(info.id), m.SessionInfo, of=info.id)

    # -- applications ------------------------------------------------------------------------------------------------------

    def register(
        self,
        name: str,
        spec: m.AppSpec | None = None,
        *,
        service: str | None = None,
        path: str = ".",
        env: Mapping[str, str] | None = None,
        if_absent: bool = False,
    ) -> None:
        """Register an application: `service="module:Class"` found under `path`, or a whole AppSpec. Raises AlreadyExists."""
        if (spec is None) == (service is None):
            raise InvalidArgument("register takes either spec or service")
        if service is not None:
            if ":" not in service:
                raise InvalidArgument(f"service={service!r}; module:Class")
            environment = {"FLAME_SERVICE": service, "FLAME_SERVICE_PATH": str(Path(path).resolve())} | dict(env or {})
            spec = m.AppSpec(labels=(m.NATIVE,), environments=environment)
        assert spec is not None
        self._ask_all(m.RegisterApp(name, spec, if_absent), m.Done)

    def _register_class(self, service: type[FlameService]) -> str:
        from flame.sdk.pickled import class_app

        name, spec = class_app(service)
        self.register(name, spec, if_absent=True)
        return name

    def update_app(self, name: str, spec: m.AppSpec) -> None:
        """Raises NotFound, AppInUse."""
        self._ask_all(m.UpdateApp(name, spec), m.Done)

    def unregister(self, name: str) -> None:
        """The application with its closed sessions. Raises NotFound, AppInUse."""
        self._ask_all(m.UnregisterApp(name), m.Done)

    def get_app(self, name: str) -> m.AppInfo:
        return self._ask(m.GetApp(name), m.AppInfo)

    def list_apps(self) -> list[m.AppInfo]:
        return list(self._ask(m.ListApps(), m.AppList).apps)

    # -- the cluster -------------------------------------------------------------------------------------------------------

    def list_nodes(self) -> list[m.NodeInfo]:
        return list(self._ask(m.ListNodes(), m.NodeList).nodes)

    def list_executors(self) -> list[m.ExecutorInfo]:
        return list(self._ask(m.ListExecutors(), m.ExecutorList).executors)

    def status(self) -> m.Status:
        """Of the whole cluster: counts of several session managers are added up."""
        return summed(self._ask_all(m.GetStatus(), m.Status))

    def explain(self, object: str) -> m.Explanation:
        """Why does a session, or a task (`session/no`), wait?"""
        session, _, no = object.rpartition("/")
        return self._ask(m.Explain(object), m.Explanation, of=session if session and no.isdecimal() else object)

    def logs(self, session: str, no: int = 0) -> list[m.LogLine]:
        """What a task (0: all tasks of the session) printed."""
        id = self.get_session(session).id
        return list(self._ask(m.GetLogs(id, no), m.LogList, of=id).lines)

    # -- workloads -----------------------------------------------------------------------------------------------------------

    @property
    def objects(self) -> Objects:
        """Workloads, classes, quotas, settings, pods, nodes: see `flame.sdk.objects`."""
        from flame.sdk.objects import Objects

        return Objects(self)

    # -- who may do what -----------------------------------------------------------------------------------------------------

    def whoami(self) -> m.Identity:
        """Who this client is to the cluster: name, role, tenant, and how that was established."""
        return self._ask(m.WhoAmI(), m.Identity)

    def create_token(
        self, name: str, role: str = "user", tenant: str | None = None, ttl: float = 0.0
    ) -> m.TokenCreated:
        """A new bearer token, told once. role: viewer, user, operator, admin, or join (one use: lets a machine in); tenant: None is your
        own, `*` all; ttl: seconds, 0 without end (join: an hour). Raises PermissionDenied, NotFound for an unknown tenant."""
        if tenant is None:
            mine = self.whoami().tenant
            tenant = "*" if role == "join" else ("default" if mine == "*" else mine)
        return self._ask(m.CreateToken(name, role, tenant, ttl), m.TokenCreated)

    def create_account_token(
        self, namespace: str, name: str, tenant: str | None = None, ttl: float = 0.0
    ) -> m.TokenCreated:
        """A new bearer token of a ServiceAccount, which may do with objects what its RoleBindings and ClusterRoleBindings say. It ends with
        the account. Raises PermissionDenied (admins of the whole cluster only), NotFound."""
        return self.create_token(account_name(namespace, name), ACCOUNT, tenant, ttl)

    def revoke_token(self, id: str) -> None:
        """Connections that use it end at once. Raises NotFound."""
        self._ask(m.RevokeToken(id), m.Done)

    def list_tokens(self) -> list[m.TokenInfo]:
        return list(self._ask(m.ListTokens(), m.TokenList).tokens)

    def set_tenant(self, name: str, **limits: Any) -> None:
        """Create a tenant or change it: weight, max_sessions, max_queued (tasks), max_bytes (of their payloads)."""
        self._ask(m.SetTenant(m.TenantInfo(name, **limits)), m.Done)

    def drop_tenant(self, name: str) -> None:
        """With its tokens. Raises InvalidState while it has open sessions."""
        self._ask(m.DropTenant(name), m.Done)

    def list_tenants(self) -> list[m.TenantUse]:
        """Tenants you see, with what they hold now."""
        added: dict[str, m.TenantUse] = {}
        for found in self._ask_all(m.ListTenants(), m.TenantList):
            for use in found.tenants:
                known = added.get(use.tenant.name)
                if known is not None:
                    counts = known.sessions + use.sessions, known.queued + use.queued, known.bytes + use.bytes
                    use = m.TenantUse(use.tenant, *counts)
                added[use.tenant.name] = use
        return list(added.values())

    def cordon(self, node: str, *, drain: bool = False) -> None:
        """Place nothing new on a node; with `drain`, let what runs leave at its next task boundary. Raises NotFound."""
        self._ask(m.SetNode(node, cordon=True, drain=drain), m.Done)

    def uncordon(self, node: str) -> None:
        self._ask(m.SetNode(node), m.Done)

    def _ask(self, message: m.Message, kind: type[M], timeout: float | None = 60.0, *, of: str = "") -> M:
        """of: the session it is about; "" for what concerns the whole cluster."""
        return self._answer((self.links.of(of) if of else self.link).ask(message, timeout), message, kind)

    def _ask_all(self, message: m.Message, kind: type[M]) -> list[M]:
        """Every session manager, in turn."""
        return [self._answer(link.ask(message), message, kind) for link in self.links.all()]

    @staticmethod
    def _answer(answer: m.Message, message: m.Message, kind: type[M]) -> M:
        if not isinstance(answer, kind):
            raise FlameError(f"{type(message).__name__} was answered by {type(answer).__name__}")
        return answer

    def close(self) -> None:
        """Futures without a result fail with Unavailable; a private cluster ends."""
        self.links.close()
        if self.private is not None:
            self.private.stop()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Client {self.endpoint}>"


def summed(found: Sequence[m.Status]) -> m.Status:
    """One status of what all session managers say: their counts are added up."""
    first, *others = found
    for other in others:
        added = {name: getattr(first, name) + getattr(other, name) for name in _COUNTED}
        storage = first.storage if first.storage != "ok" else other.storage
        first = replace(first, storage=storage, allocator=first.allocator and other.allocator, **added)
    return first
