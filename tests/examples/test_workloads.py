"""The example workloads do what their READMEs say, on a cluster that was started as anybody would."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from flame.testing.cluster import LocalCluster

WORKLOADS = Path(__file__).parents[2] / "examples" / "workloads"


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster() as made:
        yield made


@pytest.fixture
def flame(cluster, tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("FLAME_")}
    env |= {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{env['PATH']}",
        "FLAME_ENDPOINT": cluster.run.endpoint,
    }

    def run(*words: object) -> str:
        done = subprocess.run(["flame", *map(str, words)], env=env, capture_output=True, text=True, timeout=110)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.ledger("B-054")
def test_four_ranks_sum_a_vector_over_sockets(flame):
    assert "Where: ranks 0-3 on node" in flame("apply", "-f", WORKLOADS / "allreduce")
    flame("wait", "workload/allreduce", "--for=condition=Complete", "--timeout=60s")
    lines = sorted(flame("logs", "allreduce", "--no-prefix").splitlines())
    assert lines == [f"rank {rank} of 4: the sum of 40,000 numbers is right, 7,999,800,000 in all" for rank in range(4)]
    flame("delete", "-f", WORKLOADS / "allreduce")


def test_a_model_reads_digits_over_http(flame):
    datasets = pytest.importorskip("sklearn.datasets", reason="pip install 'flame-engine[examples]'")
    flame("apply", "-f", WORKLOADS / "model_server")
    flame("wait", "workload/digits", "--for=condition=Ready", "--timeout=90s")
    pod = json.loads(flame("get", "pod", "digits-0", "-o", "json"))
    images, names = datasets.load_digits(return_X_y=True)
    right = 0
    for pixels, digit in zip(images[-50:], names[-50:], strict=True):
        body = json.dumps({"pixels": list(pixels)}).encode()
        url = f"http://127.0.0.1:{pod['status']['ports']['http']}/predict"
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=20) as answer:
            right += json.load(answer)["digit"] == digit
    assert right >= 40
    assert re.search(r"reads 9\d\.\d% of digits", flame("logs", "digits"))
    flame("delete", "-f", WORKLOADS / "model_server", "--grace-period", "1")


def test_replicas_open_sessions(flame):
    flame("apply", "-f", WORKLOADS / "hybrid")
    flame("wait", "workload/pi", "--for=condition=Complete", "--timeout=60s")
    found = re.findall(
        r"^\[pi-(\d)\] replica \1: 40 tasks of session (\S+): pi is about (3\.1\d\d)$",
        flame("logs", "pi"),
        re.MULTILINE,
    )
    assert sorted(rank for rank, _, _ in found) == ["0", "1"] and len({session for _, session, _ in found}) == 2
    flame("delete", "-f", WORKLOADS / "hybrid")


def test_every_folder_has_a_readme_and_a_test():
    here = Path(__file__).read_text()
    for folder in sorted(path for path in WORKLOADS.iterdir() if path.is_dir()):
        assert (folder / "README.md").exists(), folder
        assert f'"{folder.name}"' in here, folder
