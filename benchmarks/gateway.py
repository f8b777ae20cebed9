"""How long the gateway takes: lists with 1,000 workloads and 100,000 tasks, and the first paint of the dashboard.

    python benchmarks/gateway.py [--workloads 1000] [--tasks 100000] [--requests 100]

Prints one JSON object; milliseconds. The targets: list p95 <= 100 ms, first paint <= 500 ms.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import time
from pathlib import Path
from urllib.parse import urlsplit

from flame.sdk.client import Client
from flame.testing.cluster import LocalCluster

LISTS = {
    "workloads": "/apis/flame.xflops.cn/v1alpha1/flameworkloads",
    "workloads, a page of 500": "/apis/flame.xflops.cn/v1alpha1/flameworkloads?limit=500",
    "workloads as a table": "/apis/flame.xflops.cn/v1alpha1/flameworkloads",
    "tasks, a page of 100": "/flame/v1/sessions/{session}/tasks?start=50000",
    "tasks, a page of 1000": "/flame/v1/sessions/{session}/tasks?start=50000&limit=1000",
    "sessions": "/flame/v1/sessions",
    "overview": "/flame/v1/overview",
    "dashboard": "/",
}
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def fill(client: Client, workloads: int, tasks: int) -> str:
    """Suspended workloads (the scheduler is measured elsewhere), and a session whose tasks have run. Returns its number."""
    for number in range(workloads):
        container = {"name": "main", "command": ["true"], "resources": {"limits": {"nvidia.com/gpu": 64}}}
        client.objects.create({
            "apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameWorkload",
            "metadata": {"name": f"w{number}", "labels": {"app": "flame", "number": str(number)}},
            "spec": {"type": "Inference", "replicas": 2, "suspend": True, "template": {"spec": {"containers": [container]}}},
        })  # fmt: skip
    session = client.session("flmping", detached=True)
    futures = [session.run(b"") for _ in range(tasks)]
    for future in futures:
        future.result(300)
    return str(session.info.alias)


def measure(url: str, token: str, session: str, requests: int) -> dict[str, dict[str, float]]:
    parts = urlsplit(url)
    link = http.client.HTTPConnection(str(parts.hostname), parts.port)
    found = {}
    for name, path in LISTS.items():
        heads = {"authorization": f"Bearer {token}", "accept": TABLE if "table" in name else "*/*"}
        took, size = [], 0
        for _ in range(requests):
            began = time.perf_counter()
            link.request("GET", path.format(session=session), headers=heads)
            answer = link.getresponse()
            size = len(answer.read())
            took.append((time.perf_counter() - began) * 1000)
            assert answer.status == 200, f"{path}: {answer.status}"
        cuts = statistics.quantiles(took, n=20)
        found[name] = {"p50": round(cuts[9], 1), "p95": round(cuts[18], 1), "kib": round(size / 1024)}
    link.close()
    return found


def first_paint(url: str, token: str, times: int = 5) -> list[float]:
    """Of the dashboard in headless Chromium, milliseconds from the navigation's start, each in a browser that has seen nothing."""
    from playwright.sync_api import sync_playwright

    script = Path(__file__).parents[1] / "scripts" / "chromium.sh"
    path = subprocess.run([str(script)], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    found = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        for _ in range(times):
            context = browser.new_context()
            context.add_cookies([{"name": "flame_session", "value": token, "url": url}])
            page = context.new_page()
            page.goto(url + "/")
            page.wait_for_selector("#workloads-title")
            page.wait_for_timeout(500)
            paints = page.evaluate("performance.getEntriesByName('first-contentful-paint').map((e) => e.startTime)")
            found.append(round(paints[0], 1))
            context.close()
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("workloads", 1000), ("tasks", 100_000), ("requests", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with (
        LocalCluster(gateway={"listen": "127.0.0.1:0"}, simulate_gpus="A100:2x40Gi") as cluster,
        cluster.connect() as client,
    ):
        client.objects.create({
            "apiVersion": "flame.xflops.cn/v1alpha1", "kind": "FlameValues", "metadata": {"name": "flame"},
            "flame": {"apiServer": {"config": {"rateLimit": {"enabled": False}}}},
        })  # fmt: skip
        session = fill(client, given.workloads, given.tasks)
        token = Path(cluster.run.token_file).read_text().strip()
        assert cluster.run.gateway is not None
        lists = measure(cluster.run.gateway, token, session, given.requests)
        paints = first_paint(cluster.run.gateway, token)
    print(
        json.dumps(
            {"workloads": given.workloads, "tasks": given.tasks, "lists": lists, "first_paint": paints}, indent=2
        )
    )


if __name__ == "__main__":
    main()
