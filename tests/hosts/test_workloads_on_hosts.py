"""Workloads over three hosts: ranks that meet, replicas that are clients, and hosts that are cut off, killed, drained."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hosts.conftest import PORT, WHY_NOT, Machines
from hosts.net import BIN, Network

import flame
from flame.agent.sandbox import refusal
from flame.core.model.states import NodeState
from flame.ops.paths import RunFile
from flame.testing.cluster import eventually

HOSTNAME = "kubernetes.io/hostname"
GRACE = 2.0
"""Seconds that host b has to come back; c has the 30 s of the default."""
PYTHON, SOURCE = str(BIN.resolve() / Path(sys.executable).name), str(Path(flame.__file__).parents[1])
"""What sandboxes show: the environment by its own name, not by a link to it."""

MEET = """
import json, os, socket, time
rank, world = int(os.environ["FLAME_RANK"]), int(os.environ["FLAME_WORLD_SIZE"])
host, port = os.environ["FLAME_RENDEZVOUS"].rsplit(":", 1)
assert (host, port) == (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"])

def line(to):
    return json.loads(to.makefile().readline())

own = socket.create_server((os.environ["POD_IP"], 0))
me = [rank, *own.getsockname()]
if rank == 0:
    known, doors = [me], []
    with socket.create_server((host, int(port))) as desk:
        while len(known) < world:
            doors.append(desk.accept()[0])
            known.append(line(doors[-1]))
    for door in doors:
        door.sendall(json.dumps(known).encode() + b"\\n")
else:
    end = time.monotonic() + 20
    while True:
        try:
            door = socket.create_connection((host, int(port)), 5)
            break
        except ConnectionRefusedError:
            assert time.monotonic() < end
            time.sleep(0.05)
    door.sendall(json.dumps(me).encode() + b"\\n")
    known = line(door)
others = [one for one in known if one[0] != rank]
calls = [socket.create_connection((address, at), 5) for _, address, at in others]
for call in calls:
    call.sendall(json.dumps(rank).encode() + b"\\n")
heard = sorted(line(own.accept()[0]) for _ in others)
print(json.dumps({"rank": rank, "world": world, "at": me[1], "rendezvous": host, "heard": heard}))
"""

CLIENT = """
import json, os, flame
for endpoint in os.environ["FLAME_ENDPOINT"].split(","):
    with flame.connect(endpoint) as client, client.session("flmexec") as session:
        task = json.dumps({"language": "shell", "code": "echo $FLAME_NODE"}).encode()
        output = json.loads(bytes(session.run(task).result(30)))["data"]
        said = {"endpoint": endpoint, "node": os.environ["FLAME_NODE"], "task": bytes(output).decode().strip()}
        print(json.dumps(said), flush=True)
"""  # fmt: skip

STAY = """
import os, pathlib, signal, sys, time
me = pathlib.Path(os.environ["OUT"], "{FLAME_REPLICA}.{FLAME_ATTEMPT}.{FLAME_NODE}.{pid}".format(pid=os.getpid(), **os.environ))

def left(*_):
    time.sleep(0.5)
    print("bye", flush=True)
    me.with_name("left." + me.name).touch()
    sys.exit(0)

signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else left)
me.touch()
print("here", flush=True)
while True:
    time.sleep(0.05)
"""


def spread(*, selector: dict[str, str], whole: bool) -> dict[str, object]:
    """No two on one host: as a rule of neighbours, or of how they are spread."""
    term = {"labelSelector": {"matchLabels": selector}, "topologyKey": HOSTNAME}
    if whole:
        return {"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}
    return {"topologySpreadConstraints": [term | {"maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]}


def a_workload(name: str, type: str, code: str, *args: str, replicas: int = 1, env=None, labels=None, **pod: object):
    container = {
        "name": "main", "image": "python", "command": [PYTHON, "-u", "-c", code], "args": list(args),
        "env": [{"name": key, "value": str(value)} for key, value in (env or {}).items()],
        "resources": {"requests": {"cpu": "200m"}},
    }  # fmt: skip
    return {
        "apiVersion": "flame.xflops.cn/v1alpha1",
        "kind": "FlameWorkload",
        "metadata": {"name": name},
        "spec": {
            "type": type,
            "replicas": replicas,
            "template": {
                "metadata": {"labels": {"app": name, **(labels or {})}},
                "spec": {"containers": [container], **pod},
            },
        },
    }


class Stays:
    """Workloads whose replicas stay and leave a file each: what really ran, beside what the cluster says. Files and processes are shared
    by all hosts here."""

    def __init__(self, client: flame.Client, out: Path) -> None:
        self.client, self.out = client, out

    def apply(self, name: str, type: str = "Inference", mode: str = "", **more: object) -> None:
        self.client.objects.apply(a_workload(name, type, STAY, mode, env={"OUT": self.out}, **more))

    def started(self, name: str) -> list[tuple[str, int]]:
        """Node and process of every start, as the processes themselves say."""
        return [(one.name.split(".")[2], int(one.name.split(".")[3])) for one in self.out.glob(f"{name}-*")]

    def alive(self, name: str) -> list[tuple[str, int]]:
        return [one for one in self.started(name) if self._runs(one[1])]

    @staticmethod
    def _runs(pid: int) -> bool:
        """Zombies do not: nothing is left of their memory."""
        try:
            return bool(Path(f"/proc/{pid}/cmdline").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            return False

    def status(self, name: str) -> dict:
        return self.client.objects.get("fw", name).get("status") or {}

    def settled(self, name: str, replicas: int = 1) -> bool:
        """All run, and so do their processes."""
        return self.status(name).get("readyReplicas") == replicas and len(self.alive(name)) == replicas

    def pod(self, name: str, rank: int = 0) -> dict:
        return self.client.objects.get("pod", f"{name}-{rank}")

    def where(self, name: str, rank: int = 0) -> str:
        return self.pod(name, rank)["spec"]["nodeName"]


def states(client: flame.Client) -> dict[str, str]:
    return {node.name: NodeState(node.state).name for node in client.list_nodes()}


@pytest.fixture(scope="module")
def three():
    """The hosts main, b and c; each is a node."""
    if WHY_NOT:
        pytest.skip(WHY_NOT)
    with Network() as net:
        made = Machines(net, net.host("m"))
        made.up("--cpus", 2)
        made.join("b", settings=f"cluster: {{rejoin_grace: {GRACE}s}}\n")
        made.join("c")
        yield made


@pytest.fixture
def client(three):
    with three.client() as made:
        yield made
        for host in three.nodes.values():
            host.heal()
        for body in made.objects.list("fw").items:
            made.objects.delete("fw", body["metadata"]["name"], grace=0)
        eventually(lambda: not made.objects.list("fw").items, 40)
        for name in ("main", "b", "c"):
            made.uncordon(name)


@pytest.fixture
def stays(client, tmp_path):
    return Stays(client, tmp_path)


def lines(client: flame.Client, name: str, replicas: int) -> list[dict]:
    """What the replicas of a workload that has ended printed, one JSON object a line."""
    eventually(
        lambda: client.objects.get("fw", name).get("status", {}).get("phase") in ("Succeeded", "Failed"), 60, f"{name} did not end"
    )  # fmt: skip
    text = b"".join(piece for rank in range(replicas) for piece in client.objects.logs(f"{name}-{rank}")).decode()
    assert client.objects.get("fw", name)["status"]["phase"] == "Succeeded", text
    return [json.loads(line.split(" ", 3)[3]) for line in text.splitlines()]


@pytest.mark.ledger("B-042", "B-052", "B-053")
def test_ranks_on_three_hosts_meet(three, client):
    rules = spread(selector={"app": "gang"}, whole=True)
    client.objects.apply(a_workload("gang", "Training", MEET, replicas=3, restartPolicy="Never", **rules))
    said = lines(client, "gang", 3)
    hosts = {three.main.address, *(host.address for host in three.nodes.values())}
    assert [one["rank"] for one in said] == [0, 1, 2] and {one["world"] for one in said} == {3}
    assert {one["at"] for one in said} == hosts
    assert {one["rendezvous"] for one in said} == {said[0]["at"]}
    assert [one["heard"] for one in said] == [[1, 2], [0, 2], [0, 1]]
    assert client.objects.get("fw", "gang")["status"]["attempt"] == 1


@pytest.mark.ledger("B-044")
@pytest.mark.parametrize("runtime", ["process", "bubblewrap"])
def test_a_replica_anywhere_is_a_client(three, client, runtime):
    """By every address it was given: on the main host the socket and TLS, elsewhere TLS."""
    if runtime == "bubblewrap" and (why := refusal(("user", "pid", "mount"))):
        pytest.skip(why)
    rules = spread(selector={"app": "inside"}, whole=False)
    labels = {"flame.runtime": runtime}
    env = {"PYTHONPATH": SOURCE}
    client.objects.apply(
        a_workload("inside", "Hybrid", CLIENT, replicas=3, env=env, labels=labels, restartPolicy="Never", **rules)
    )
    said = lines(client, "inside", 3)
    tls = f"tls://{three.main.address}:{PORT}"
    for node in ("b", "c"):
        assert [one["endpoint"] for one in said if one["node"] == node] == [tls]
    unix, beside = (one["endpoint"] for one in said if one["node"] == "main")
    assert unix.startswith("unix:///") and beside == tls
    assert all(one["task"] in ("main", "b", "c") for one in said)


@pytest.mark.ledger("B-063")
def test_logs_commands_and_ends_reach_a_host_elsewhere(three, stays):
    stays.apply("far", nodeSelector={HOSTNAME: "c"})
    stays.apply("stubborn", mode="stubborn", nodeSelector={HOSTNAME: "c"})
    eventually(lambda: stays.settled("far") and stays.settled("stubborn"))
    line = three.main.command("flame", "logs", "-f", "far")
    with subprocess.Popen(line, env=three.main.environment, stdout=subprocess.PIPE, text=True) as follow:
        assert follow.stdout is not None and follow.stdout.readline().strip().endswith("here")
        command = ("sh", "-c", "echo $FLAME_REPLICA on $FLAME_NODE; exit 7")
        assert three.flame("exec", "far", "--", *command, code=7) == "far-0 on c\n"
        three.flame("delete", "workload", "far", "--grace-period", "10")
        assert follow.stdout.read().strip().endswith("bye")
    assert follow.returncode == 0
    assert list(stays.out.glob("left.far-0*")) and not stays.alive("far")
    begin = time.monotonic()
    three.flame("delete", "workload", "stubborn", "--grace-period", "1")
    assert 1.0 <= time.monotonic() - begin < 8.0
    assert not stays.alive("stubborn")


class Count(threading.Thread):
    """Looks all the time how many replicas of each workload count as ready; until it has seen the label that `stop` sets."""

    def __init__(self, client: flame.Client) -> None:
        super().__init__(daemon=True)
        self.client, self.most = client, dict[str, int]()

    def run(self) -> None:
        for change in self.client.objects.watch("fw"):
            if "counted" in change.object.get("metadata", {}).get("labels", {}):
                return
            if change.object:
                name, status = change.object["metadata"]["name"], change.object.get("status") or {}
                self.most[name] = max(self.most.get(name, 0), status.get("readyReplicas") or 0)

    def stop(self, name: str) -> dict[str, int]:
        self.client.objects.patch("fw", name, {"metadata": {"labels": {"counted": "yes"}}})
        self.join(10)
        assert not self.is_alive()
        return self.most


@pytest.mark.ledger("B-043")
def test_a_host_that_was_cut_off_finds_its_replicas_replaced(three, client, stays):
    """b has 2 s to come back, c has 30: what ran on b starts elsewhere, what runs on c goes on. Two hosts are away at once."""
    b, c = three.nodes["b"], three.nodes["c"]
    stays.apply("kept", nodeSelector={HOSTNAME: "c"})
    client.cordon("main")
    client.cordon("c")
    stays.apply("moved")
    eventually(lambda: stays.settled("moved"))
    client.uncordon("main")
    rules = spread(selector={"app": "gang"}, whole=True)
    stays.apply("gang", "Training", replicas=2, **rules)  # on main and b: c takes nothing new
    eventually(lambda: stays.settled("gang", 2) and stays.settled("kept"))
    first = {name: stays.alive(name) for name in ("kept", "moved", "gang")}
    assert {node for node, _ in first["gang"]} == {"main", "b"} and first["moved"][0][0] == "b"
    count = Count(client)
    count.start()
    b.cut()
    c.cut()
    eventually(lambda: states(client) == {"main": "READY", "b": "NOT_READY", "c": "UNKNOWN"}, 20, "nobody noticed")
    eventually(lambda: stays.pod("moved")["status"]["ready"] == "1/1" and stays.where("moved") == "main")
    # It cannot know: its replicas go on. The other rank of the gang is of no use alone, and there is no room for a new one.
    eventually(lambda: sorted(node for node, _ in stays.alive("moved")) == ["b", "main"])
    eventually(lambda: [node for node, _ in stays.alive("gang")] == ["b"])
    assert stays.status("gang")["phase"] == "Pending"
    b.heal()
    c.heal()
    eventually(lambda: set(states(client).values()) == {"READY"}, 30, "they did not come back")
    eventually(lambda: stays.settled("moved") and stays.settled("gang", 2) and stays.settled("kept"), 20)
    most = count.stop("kept")
    assert stays.alive("kept") == stays.started("kept") == first["kept"]
    assert [node for node, _ in stays.alive("moved")] == ["main"] and len(stays.started("moved")) == 2
    assert {node for node, _ in stays.alive("gang")} == {"main", "b"} and len(stays.started("gang")) == 4
    assert not set(first["gang"]) & set(stays.alive("gang"))
    assert most == {"kept": 1, "moved": 1, "gang": 2}
    found = {name: stays.status(name) for name in first}
    assert [found[name]["attempt"] for name in ("kept", "moved", "gang")] == [1, 2, 2]
    assert {one["failed"] for one in found.values()} == {0}
    client.uncordon("c")


def test_replicas_elsewhere_outlive_the_control_plane_and_end_with_their_agent(three, client, stays):
    stays.apply("held", nodeSelector={HOSTNAME: "c"})
    eventually(lambda: stays.settled("held"))
    begun, uid = stays.started("held"), stays.pod("held")["metadata"]["uid"]
    allocator = three.run.pids["allocator"]
    os.kill(allocator, signal.SIGKILL)
    eventually(lambda: three.run.pids.get("allocator") not in (None, allocator))
    eventually(lambda: stays.settled("held") and set(states(client).values()) == {"READY"})
    assert stays.started("held") == begun and stays.pod("held")["metadata"]["uid"] == uid  # taken up, not started again
    run = RunFile.read(three.nodes["c"].home / "node" / "run.json")
    assert run is not None
    os.kill(run.pids["agent"], signal.SIGKILL)
    eventually(lambda: len(stays.started("held")) == 2, 20, "it was not started again")
    assert begun[0] not in stays.alive("held")
    eventually(lambda: stays.settled("held"))
    found = stays.status("held")
    assert (len(stays.started("held")), found["losses"], found["failed"]) == (2, 1, 0)


def test_a_drained_host_ends_its_replicas_with_their_grace_and_they_go_elsewhere(three, client, stays):
    client.cordon("main")
    client.cordon("c")
    stays.apply("polite", terminationGracePeriodSeconds=10)
    stays.apply("stubborn", mode="stubborn", terminationGracePeriodSeconds=1)
    eventually(lambda: stays.settled("polite") and stays.settled("stubborn"))
    client.uncordon("main")
    client.uncordon("c")
    before = stays.alive("polite") + stays.alive("stubborn")
    assert {node for node, _ in before} == {"b"}
    begin = time.monotonic()
    assert three.flame("node", "drain", "b", "--timeout", "20") == "Node b is cordoned and empty.\n"
    assert 1.0 <= time.monotonic() - begin < 8.0
    assert not set(before) & {*stays.alive("polite"), *stays.alive("stubborn")}
    assert list(stays.out.glob("left.polite-0*"))
    eventually(lambda: stays.settled("polite") and stays.settled("stubborn"))
    listed = {one["name"]: one for one in json.loads(three.flame("node", "list", "-o", "json"))}
    assert (listed["b"]["state"], listed["b"]["replicas"]) == ("Ready,Cordoned", 0)
    assert listed["main"]["replicas"] + listed["c"]["replicas"] == 2
    assert {stays.where("polite"), stays.where("stubborn")} <= {"main", "c"}
    assert stays.status("polite")["failed"] == 0
    client.uncordon("b")
