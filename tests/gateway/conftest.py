"""A cluster with a gateway, a client for HTTP without any magic, and kubectl."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPMessage
from pathlib import Path
from typing import Any

import pytest

from flame.core.model.access import LADDER
from flame.sdk.client import Client
from flame.testing.cluster import LocalCluster

GROUP = "/apis/flame.xflops.cn/v1alpha1"
WORKLOADS = f"{GROUP}/namespaces/default/flameworkloads"
CONFIGS = "/api/v1/namespaces/default/configmaps"
SETTINGS = "/api/v1/namespaces/flame-system/configmaps"


@dataclass
class Answer:
    status: int
    headers: HTTPMessage
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def text(self) -> str:
        return self.data.decode()


@dataclass
class Gate:
    """A cluster and how to ask its gateway."""

    cluster: LocalCluster
    client: Client
    tokens: dict[str, str] = field(default_factory=dict)  # "role@tenant" -> token

    @property
    def url(self) -> str:
        assert self.cluster.run.gateway is not None
        return self.cluster.run.gateway

    @property
    def ca(self) -> Path:
        return self.cluster.data_dir / "certs" / "ca.pem"

    @property
    def token(self) -> str:
        return Path(self.cluster.run.token_file).read_text().strip()

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = "",
        media: str = "application/json",
        **headers: str,
    ) -> Answer:
        """token: "": the cluster's own, None: none. Header names have `_` for `-`."""
        heads = {name.replace("_", "-"): text for name, text in headers.items()}
        if token is not None:
            heads["authorization"] = f"Bearer {token or self.token}"
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            heads["content-type"] = media
        request = urllib.request.Request(self.url + path, data, heads, method=method)
        try:
            with _OPENER.open(request, timeout=30) as answer:
                return Answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.headers, error.read())

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def stream(self, path: str, seconds: float = 30.0, token: str = "") -> Any:
        heads = {"authorization": f"Bearer {token or self.token}"}
        return _OPENER.open(urllib.request.Request(self.url + path, headers=heads), timeout=seconds)

    def make_tokens(self, *tenants: str) -> None:
        for tenant in tenants:
            if tenant != "*":
                self.client.set_tenant(tenant)
            for role in LADDER:
                self.tokens[f"{role}@{tenant}"] = self.client.create_token(f"{role}-{tenant}", role, tenant).token


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)


def workload(name: str, script: str = "sleep 600", **spec: Any) -> dict[str, Any]:
    container = {"name": "main", "command": ["sh", "-c", script]}
    limits = spec.pop("limits", None)
    if limits:
        container["resources"] = {"limits": limits}
    return {
        "apiVersion": "flame.xflops.cn/v1alpha1",
        "kind": "FlameWorkload",
        "metadata": {"name": name, "labels": {"app": "flame", "test": name}},
        "spec": {
            "type": "Inference",
            "replicas": 1,
            "template": {"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}},
            **spec,
        },
    }


def config(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}


@pytest.fixture(scope="session")
def gate() -> Iterator[Gate]:
    """For all tests that do not stop it; what they make they name after themselves."""
    options = {"listen": "127.0.0.1:0", "origins": ["https://pages.example"]}
    with LocalCluster(gateway=options, simulate_gpus="A100:2x40Gi") as cluster, cluster.connect() as client:
        gate = Gate(cluster, client)
        gate.make_tokens("*", "acme")
        yield gate


@pytest.fixture
def own_gate() -> Iterator[Callable[..., Gate]]:
    """A cluster of the test's own."""
    made: list[tuple[LocalCluster, Client]] = []

    def make(**options: Any) -> Gate:
        cluster = LocalCluster(gateway={"listen": "127.0.0.1:0"} | options.pop("gateway", {}), **options).start()
        client = cluster.connect()
        made.append((cluster, client))
        return Gate(cluster, client)

    yield make
    for cluster, client in made:
        client.close()
        cluster.__exit__(None, None, None)


@pytest.fixture(scope="session")
def kubectl(gate: Gate, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the real kubectl with what `flame kubeconfig` prints."""
    found = shutil.which("kubectl")
    if found is None:
        pytest.skip("kubectl is not installed; Debian's package is kubernetes-client")
    home = tmp_path_factory.mktemp("kube")
    flame = [os.sys.executable, "-m", "flame.cli.flame"]  # type: ignore[attr-defined]
    made = subprocess.run(
        [*flame, "kubeconfig", "--data-dir", str(gate.cluster.data_dir)], capture_output=True, text=True, check=True
    )
    (home / "config").write_text(made.stdout)

    def run(*words: str, input: str | None = None, ok: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "KUBECONFIG": str(home / "config")}
        answer = subprocess.run(
            [found, *words], capture_output=True, text=True, input=input, env=environment, timeout=60
        )
        assert not ok or answer.returncode == 0, f"kubectl {' '.join(words)}: {answer.stdout}\n{answer.stderr}"
        return answer

    return run


def tls(gate: Gate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(gate.ca))
