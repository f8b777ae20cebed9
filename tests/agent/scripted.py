"""An allocator's end of the plane that says what a test wants, and a real agent process that dials it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from flame.core.model import messages as m
from flame.testing.cluster import eventually
from flame.wire.codec import Deframer, decode, frame

HERE = Path(__file__).parent
PYTHON = sys.executable


class Scripted:
    """Listens for one agent at a time and keeps all it says, in order."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "a.sock")
        self.heard: list[m.Message] = []
        self.connections = 0
        self._sock: socket.socket | None = None
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen()
        self._numbers = itertools.count(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listening.accept()
            except OSError:
                return
            self._sock, deframer = sock, Deframer()
            self.connections += 1
            sock.sendall(frame(m.Welcome(1, 1, "h", "process")))
            while True:
                try:
                    data = sock.recv(1 << 16)
                except OSError:
                    break
                if not data:
                    break
                self.heard += [decode(envelope)[1] for envelope in deframer.feed(data)]
            sock.close()

    def say(self, message: m.Message) -> None:
        assert self._sock is not None
        self._sock.sendall(frame(message))

    def cut(self) -> None:
        assert self._sock is not None
        self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """The agent is gone: the connection has ended by itself."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listening.close()

    def all(self, kind: type) -> list:
        return [message for message in list(self.heard) if isinstance(message, kind)]

    def ask(self, placement: str, call: m.CallReplica) -> m.AgentAnswered:
        number = next(self._numbers)
        self.say(m.AskAgent(number, placement, call))

        def answers() -> list:
            return [one for one in self.all(m.AgentAnswered) if one.number == number]

        eventually(answers, 70, f"no answer to {call.verb}")
        return answers()[0]


class Agent:
    """A real agent, and short words for what tests do with it."""

    def __init__(self, directory: Path, **options: object) -> None:
        self.data, self.options = directory / "data", options
        self.data.mkdir(parents=True, exist_ok=True)
        self.allocator = Scripted(directory)
        self.process: subprocess.Popen[bytes] | None = None
        self.begin()

    def begin(self) -> None:
        defaults = {"restart_backoff": [0.05, 0.4], "node": "n1", "cpus": 4}
        own = {"data_dir": str(self.data), "allocator": self.allocator.path, "parent": os.getpid()}
        before = self.allocator.connections
        self.process = subprocess.Popen([PYTHON, str(HERE / "run_agent.py"), json.dumps(defaults | self.options | own)])
        eventually(lambda: self.allocator.connections > before and self.allocator.all(m.RegisterNode), 20, "no agent")

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(30)

    def close(self) -> None:
        self.end()
        self.allocator.close()

    # -- replicas

    def start(self, order: m.StartReplica) -> None:
        self.allocator.say(order)

    def stop(self, id: str, grace: float = 5.0) -> None:
        self.allocator.say(m.StopPlacement(id, grace))

    def changes(self, id: str) -> list[m.ReplicaChanged]:
        return [one for one in self.allocator.all(m.ReplicaChanged) if one.id == id]

    def now(self, id: str) -> m.ReplicaChanged | None:
        return next(reversed(self.changes(id)), None)

    def until(self, id: str, true, seconds: float = 20.0) -> m.ReplicaChanged:
        """The last report, once `true` of it."""
        deadline = time.monotonic() + seconds
        while (status := self.now(id)) is None or not true(status):
            assert time.monotonic() < deadline, f"the last report was {status}\n{self.log()}"
            time.sleep(0.01)
        return status

    def running(self, id: str) -> m.ReplicaChanged:
        return self.until(id, lambda status: status.phase == "Running")

    def ended(self, id: str, seconds: float = 20.0) -> m.ReplicaChanged:
        return self.until(id, lambda status: status.phase in ("Succeeded", "Failed"), seconds)

    def exits(self, id: str) -> list[m.PlacementExited]:
        return [one for one in self.allocator.all(m.PlacementExited) if one.id == id]

    def call(self, replica: str, verb: str, **more: object) -> m.ReplicaAnswer:
        answered = self.allocator.ask(replica, m.CallReplica(verb, "r", **more))
        assert answered.failure is None, answered.failure
        return answered.answer or m.ReplicaAnswer()

    def output(self, id: str, container: str = "", previous: bool = False) -> list[str]:
        """Lines of a container's log without time and stream."""
        data = self.call(id, "logs", container=container, previous=previous).data.decode()
        return [line.split(" ", 3)[3] for line in data.splitlines()]

    def log(self) -> str:
        path = self.data / "logs" / "agent.log"
        return path.read_text() if path.exists() else ""


def python(code: str) -> tuple[str, ...]:
    """The command of a container that runs this code."""
    return (PYTHON, "-I", "-S", "-u", "-c", code)


def shell(code: str) -> tuple[str, ...]:
    return ("sh", "-c", code)


def an_order(id: str = "p1", command: tuple[str, ...] = ("true",), **more: object) -> m.StartReplica:
    """One replica; words of ReplicaSpec, ContainerSpec and StartReplica go where they belong."""
    names = set(m.ContainerSpec.__struct_fields__) - {"name", "command", "grace"}
    container = {key: more.pop(key) for key in list(more) if key in names}
    orders = {
        key: more.pop(key) for key in list(more) if key in ("devices", "gpu_memory", "endpoint", "token", "resources")
    }
    containers = more.pop("containers", (m.ContainerSpec("main", command=command, **container),))
    spec = {
        "workload": "w", "workload_id": "wid-1", "name": id, "namespace": "default", "rank": 0, "world_size": 1, "attempt": 1,
        "containers": containers, "restart": "Never",
    }  # fmt: skip
    return m.StartReplica(
        id, "n1", "default/default/w", m.ReplicaSpec(**(spec | more)), **({"resources": {"cpu": 1000}} | orders)
    )
