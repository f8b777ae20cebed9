"""TLS for our ports: credentials for gRPC that follow changed files, contexts for everything else, and who is at the other end.

A rotation is live without a restart: gRPC asks for the server's certificate at every handshake, and we look whether the files changed (two
`stat`, microseconds beside the millisecond of a handshake). So there is no moment at which the new certificate of a client meets a server
that trusts only the old authority. Connections that stand keep what they began with. A file that cannot be used is said in the log, and the
last good one stays. Clients read their files when they make credentials: make new ones to connect again.

Contexts (`flame.security.contexts`) and `diagnose` (`flame.security.probe`) are here by name, too.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from flame.core.base.errors import FlameError
from flame.security import certificate as certificates
from flame.security import pem
from flame.security.contexts import client_context, server_context
from flame.security.probe import diagnose, fetch_ca

if TYPE_CHECKING:
    import grpc

__all__ = [
    "channel_credentials",
    "client_context",
    "diagnose",
    "fetch_ca",
    "peer_of",
    "server_context",
    "server_credentials",
]

log = logging.getLogger("flame.tls")


def server_credentials(pem: Path, ca: Path, require_client: bool) -> grpc.ServerCredentials:
    """Credentials for one `add_secure_port` of a gRPC server, `grpc.aio` too, which follow their files. Make new ones for each port:
    gRPC tells a change to one port only.

    pem: the server's identity. ca: who may sign clients. require_client: refuse clients without a certificate; False: do not ask for one.
    Raises NotFound and InvalidArgument for files that cannot be used now.
    """
    import grpc

    files = _Files(pem, ca)
    fetch = cast(
        "Callable[[], grpc.ServerCertificateConfiguration]", files.fetch
    )  # None is allowed, the stubs forgot it
    return grpc.dynamic_ssl_server_credentials(files.read(), fetch, require_client_authentication=require_client)


def channel_credentials(ca: Path, identity: Path | None = None) -> grpc.ChannelCredentials:
    """Credentials for one gRPC channel, from the files as they are now. Raises NotFound, InvalidArgument."""
    import grpc

    pair = pem.read_pair(identity) if identity else None
    return grpc.ssl_channel_credentials(
        pem.read_roots(ca), private_key=pair.key if pair else None, certificate_chain=pair.chain if pair else None
    )


def peer_of(auth_context: Mapping[str, Sequence[bytes]]) -> tuple[str, str] | None:
    """(role, name) of the client certificate that gRPC verified; None when there is none, or one without a role of ours."""
    found = auth_context.get("x509_pem_cert")
    return _subject(bytes(found[0])) if found else None


@functools.lru_cache(maxsize=1024)
def _subject(certificate: bytes) -> tuple[str, str] | None:
    role, name = certificates.subject(certificates.load(certificate, "the client")[0])
    return (role, name) if role in certificates.ROLES and name else None


class _Files:
    """An identity and its authority on disk, and what gRPC was last given of them."""

    def __init__(self, identity: Path, ca: Path) -> None:
        self._identity, self._ca = identity, ca
        self._lock = threading.Lock()  # handshakes come on gRPC's own threads
        self._seen = self._stamp()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Raises NotFound and InvalidArgument; what does not fit together is refused here, gRPC would only fail handshakes."""
        import grpc

        server_context(self._identity, self._ca)
        pair = pem.read_pair(self._identity)
        return grpc.ssl_server_certificate_configuration(
            [(pair.key, pair.chain)], root_certificates=pem.read_roots(self._ca)
        )

    def fetch(self) -> grpc.ServerCertificateConfiguration | None:
        """What gRPC asks at every handshake: the new configuration, or None when nothing changed."""
        with self._lock:
            stamp = self._stamp()
            if stamp == self._seen:
                return None
            self._seen = stamp
            try:
                found = self.read()
            except (FlameError, OSError) as error:
                log.error("the certificates stay as they were: %s", error)
                return None
            log.info("new certificates from %s", self._identity)
            return found

    def _stamp(self) -> tuple[object, object]:
        return pem.stamp(self._identity), pem.stamp(self._ca)
