"""The parts of replicas on a node, each for itself."""

import asyncio
import os
from pathlib import Path

import pytest
from agent.scripted import an_order

from flame.agent.joining import for_clients
from flame.agent.replicas import environment, logs, view, volumes
from flame.agent.replicas.ports import Ports
from flame.agent.replicas.probes import run as probe
from flame.agent.replicas.volumes import Mount
from flame.core.base.errors import InvalidArgument, PortTaken
from flame.core.model import messages as m
from flame.shell.address import parse_all
from flame.testing.world import a_node


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"), ("x$(A)y$(B)", "x1y2"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$$$$(A)", "$$(A)"), ("$(NONE)", "$(NONE)"),
        ("$A ${A}", "$A ${A}"), ("$(A", "$(A"), ("$", "$"), ("$$", "$"), ("$()", "$()"), ("$(A)$(A)", "11"), ("", ""), ("a$b", "a$b"),
    ],
)  # fmt: skip
@pytest.mark.ledger("B-054")
def test_references_as_kubernetes_fills_them_in(text, expected):
    assert environment.expand(text, {"A": "1", "B": "2"}) == expected


def test_a_variable_knows_those_before_it():
    given = [m.EnvVar(*pair) for pair in (("X", "$(Y)"), ("Y", "$(RANK)"), ("Z", "$(Y)$(Y)"), ("RANK", "own $(RANK)"))]
    found = environment.complete({"RANK": "3"}, given)
    assert found == {"X": "$(Y)", "Y": "3", "Z": "33", "RANK": "own 3"}


def test_containers_that_name_gpus_share_them_out():
    devices = {f"g{n}": 1000 for n in range(3)}
    containers = tuple(
        m.ContainerSpec(name, limits={"gpu": 1000 * n} if n else {}) for name, n in (("a", 2), ("b", 0), ("c", 1))
    )
    order = an_order(containers=containers, devices=devices)
    assert [environment.share(order, one, a_node()) for one in containers] == [["g0", "g1"], [], ["g2"]]
    alone = an_order(devices=devices)
    node = a_node(devices=tuple(m.Device(f"g{n}", "x", 0) for n in (2, 0, 1)))
    assert environment.share(alone, alone.spec.containers[0], node) == ["g2", "g0", "g1"]


@pytest.mark.parametrize(
    ("managers", "joined", "said"),
    [
        ("unix:///run/plane.sock", "", "unix:///run/plane.sock"),
        ("unix:///run/plane.sock,tls://h:8081", "", "unix:///run/plane.sock,tls://h:8080"),
        ("unix:///run/plane.sock,tls://h:8081", "tls://h:8080,tls://i:8080", "tls://h:8080,tls://i:8080"),
        ("", "tls://h:8080", "tls://h:8080"),
        ("", "", ""),
    ],
)
def test_replicas_use_the_door_of_clients(managers, joined, said):
    """Executors' doors are the node's: a socket of the cluster's own machine, or TLS with the agent's certificate."""
    assert for_clients(managers, parse_all(joined) if joined else ()) == said


def test_ports_are_given_once_and_again_when_given_back():
    ports = Ports()
    first = ports.take([m.PortSpec("a", 80), m.PortSpec("", 81)])
    assert set(first) == {"a", "81"} and len(set(first.values())) == 2
    with pytest.raises(PortTaken):
        ports.take([m.PortSpec("x", 1), m.PortSpec("b", 80, host_port=first["a"])])
    assert ports.taken == set(first.values())
    ports.give_back(first.values())
    assert ports.take([m.PortSpec("b", 80, host_port=first["a"])]) == {"b": first["a"]}


def test_volumes_stay_inside(tmp_path):
    def make(*volumes_, mounts=()):
        order = an_order(volumes=volumes_, mounts=mounts)
        found = volumes.prepare(order, tmp_path / "p", tmp_path / "d", [str(tmp_path / "ok")])
        return volumes.mounts(order.spec.containers[0], order, found)

    (tmp_path / "ok" / "in").mkdir(parents=True)
    (tmp_path / "ok" / "out").symlink_to("/etc")
    claim = m.VolumeSpec("c", "claim", "../../etc")
    (mount,) = make(claim, mounts=(m.MountSpec("c", "/d/"),))
    assert mount.source.parent == tmp_path / "d" / "volumes" / "default" / "default" and mount.target == "/d"
    assert make(m.VolumeSpec("h", "host", str(tmp_path / "ok" / "in")), mounts=(m.MountSpec("h", "/h"),))
    for volume in (
        m.VolumeSpec("h", "host", str(tmp_path / "ok" / "out")), m.VolumeSpec("h", "host", "/etc"),
        m.VolumeSpec("f", "files", files={"../x": b""}), m.VolumeSpec("f", "files", files={"/x": b""}),
        m.VolumeSpec("h", "host", str(tmp_path / "ok" / "none")), m.VolumeSpec("h", "other"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument):
            make(volume)
    for mount in (
        m.MountSpec("c", "d"),
        m.MountSpec("c", "/"),
        m.MountSpec("c", "/a/../b"),
        m.MountSpec("no", "/d"),
        m.MountSpec("c", "/d", sub_path="../x"),
    ):
        with pytest.raises(InvalidArgument):
            make(claim, mounts=(mount,))


def test_without_a_mount_namespace_volumes_are_said_to_be_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr("flame.agent.sandbox.refusal", lambda namespaces: "this kernel does not let us")
    found = view.plain([Mount("my-data", tmp_path / "v", "/data/x", False)], tmp_path / "root", tmp_path)
    assert (found.prefix, found.variables) == ([], {"FLAME_VOLUME_MY_DATA": str(tmp_path / "v")})
    assert (tmp_path / "root" / "data" / "x").readlink() == tmp_path / "v"
    assert "not mounted at /data/x (this kernel does not let us)" in found.note


def in_loop(coroutine):
    return asyncio.run(coroutine)


def text_of(data):
    return [line.split(b" ", 3)[1:] for line in data.splitlines()]


def test_a_log_is_rotated_and_offsets_stay_true(tmp_path):
    async def body():
        log = logs.ContainerLog(tmp_path / "c.log", largest=2000)
        log.begin(tmp_path)
        everything = b""
        for n in range(100):
            log.feed("stdout", f"line {n}\n".encode())
            offset, data = log.read(len(everything), 1 << 20)
            assert offset == len(everything)
            everything += data
        assert log.end == len(everything) > 4000 and len(everything.splitlines()) == 100
        assert max(os.path.getsize(path) for path in tmp_path.iterdir()) <= 2000
        oldest, data = log.read(0, 1 << 20)
        assert oldest > 0 and everything[oldest:].startswith(data)
        log.close()
        log.begin(tmp_path)
        assert log.end == 0 and (tmp_path / "c.previous.log").exists()
        log.close()

    in_loop(body())


def test_long_lines_come_in_parts_and_a_last_one_without_its_end(tmp_path):
    async def body():
        log = logs.ContainerLog(tmp_path / "c.log")
        log.begin(tmp_path)
        log.feed("stderr", b"x" * (logs.LINE + 5) + b"\nab")
        log.feed("stderr", b"c")
        log.close()
        found = text_of(log.read(0, 1 << 20)[1])
        assert [(tag, len(rest)) for _, tag, rest in found] == [(b"P", logs.LINE), (b"F", 5), (b"F", 3)]
        assert found[2] == [b"stderr", b"F", b"abc"] and log.tail(1) == "abc"

    in_loop(body())


def test_a_full_disk_does_not_stop_a_container(tmp_path, caplog):
    async def body():
        log = logs.ContainerLog(Path("/dev/full"))
        log._file = os.open("/dev/full", os.O_WRONLY)
        log.feed("stdout", b"lost\n" * 3)
        log.feed("stdout", b"lost\n")
        os.close(log._file)

    in_loop(body())
    assert caplog.text.count("output of a container is lost") == 1


@pytest.mark.parametrize(
    ("answer", "passes", "said"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True, "status 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\n\r\n", True, "status 302"),
        (b"HTTP/1.1 404 No\r\n\r\n", False, "status 404"),
        (b"SSH-2.0-x\r\n", False, "not an answer"),
        (b"", False, "not an answer"),
        (None, False, "no answer within 0.2 s"),
    ],
)
def test_an_http_probe(answer, passes, said):
    async def body():
        async def serve(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"GET /health HTTP/1.1\r\n") and b"X-Me: yes\r\n" in head
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        spec = m.ProbeSpec("http", port="web", path="health", headers={"X-Me": "yes"}, timeout=0.2)
        found = await probe(spec, {"web": port})
        server.close()
        return (
            found,
            await probe(m.ProbeSpec("tcp", port=str(port)), {}),
            await probe(m.ProbeSpec("tcp", port="no"), {}),
        )

    (ok, message), refused, unknown = in_loop(body())
    assert ok == passes and said in message
    assert not refused[0] and unknown == (False, "there is no port 'no'")
