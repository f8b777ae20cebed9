"""`flame-cluster.yaml`: every mistake with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from flame.core.base.errors import InvalidArgument
from flame.ops.config import ClusterConfig, load


def read(tmp_path, text):
    path = tmp_path / "flame-cluster.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load(path, ClusterConfig(data_dir=Path("/d")))


def test_what_is_said_is_taken(tmp_path):
    found = read(
        tmp_path,
        """
cluster:
  name: mine
  durability: process
  cpus: 2
  memory: 4g
  policies: [drf]
  limits: {max_sessions: 7}
  recovery: {session: {retry_limits: 2}}
  from_the_future: true
""",
    )
    assert (found.name, found.durability, found.cpus, found.policies) == ("mine", "process", 2.0, ("drf",))
    assert (found.max_sessions, found.retry_limits) == (7, 2)


def test_a_storage_is_an_address_and_its_password_is_not_repeated(tmp_path):
    found = read(tmp_path, "cluster: {storage: 'postgresql://me:s3cret@host/db'}")
    assert found.storage == "postgresql://me:s3cret@host/db"
    assert "s3cret" not in repr(found)
    with pytest.raises(InvalidArgument, match=r"line 1: cluster\.storage") as error:
        read(tmp_path, "cluster: {storage: 'mysql://me:s3cret@host/db'}")
    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cluster:\n  name: x\n  cpus: many\n", ["line 3", "cluster.cpus"]),
        ("cluster:\n  cpus: [1]\n  memory: {}\n", ["line 2", "line 3", "cluster.memory"]),
        ("cluster:\n  policies: 5\n", ["line 2", "no list"]),
        ("cluster:\n  resreq: 5\n", ["line 2", "cluster.resreq"]),
        ("cluster:\n  durability: maybe\n", ["line 2", "one of power"]),
        ("cluster:\n  limits: 5\n", ["line 2", "no mapping"]),
        ("cluster:\n  limits:\n    max_sessions: few\n", ["line 3", "'few'"]),
        ("cluster:\n  recovery: [1]\n", ["line 2", "no mapping"]),
        ("cluster: 5\n", ["line 1", "no mapping"]),
        ("- a\n", [":1", "mapping"]),
        ("cluster: {\n", [":2", "not YAML"]),
        ("a: &a {b: *a}\ncluster:\n  cpus: x\n", ["line 3"]),
        (b"\xff\xfe\x00", ["not a text file"]),
        ("cluster:\n\tcpus: 1\n", [":2", "not YAML"]),
    ],
)
def test_every_mistake_is_told_with_its_line(tmp_path, text, words):
    with pytest.raises(InvalidArgument) as refused:
        read(tmp_path, text)
    for word in words:
        assert word in refused.value.message
    assert "\n" not in refused.value.message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InvalidArgument, match="cannot read"):
        load(tmp_path / "no.yaml", ClusterConfig(data_dir=tmp_path))
