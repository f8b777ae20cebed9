"""A service that tries things its executor should survive, or not be able to do."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import flame

SECRET = ""
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


class Probe(flame.FlameService):
    def on_session_enter(self, ctx):
        self.ctx = ctx

    def on_task_invoke(self, ctx):
        verb, _, rest = (ctx.input or b"").decode().partition(" ")
        said = getattr(self, verb.replace("-", "_"))(*rest.split())
        return said if isinstance(said, bytes) else json.dumps(said).encode()

    def on_session_leave(self):
        if path := os.environ.get("LEAVE"):
            with open(path, "a") as file:
                file.write("left\n")

    def pid(self):
        return os.getpid()

    def eat(self, mebibytes=1 << 20):
        held = []
        for _ in range(int(mebibytes)):
            held.append(bytearray(os.urandom(1) * (1 << 20)))
        return len(held)

    def fork(self, most):
        """Children that do nothing, until the kernel refuses; [pids, errno]."""
        pids, refused = [], 0
        while len(pids) < int(most):
            try:
                pid = os.fork()
            except OSError as error:
                refused = error.errno
                break
            if pid == 0:
                time.sleep(600)
                os._exit(0)
            pids.append(pid)
        return [pids, refused]

    def burn(self, seconds):
        """CPU seconds that we got in so many seconds of work."""
        begun, used = time.monotonic(), time.process_time()
        while time.monotonic() - begun < float(seconds):
            pass
        return time.process_time() - used

    def fill(self, mebibytes):
        with open("filler", "wb") as file:
            for _ in range(int(mebibytes)):
                file.write(bytes(1 << 20))
        return os.path.getsize("filler")

    def environment(self):
        """Ours, what the kernel shows of us, and what a child gets."""
        with open("/proc/self/environ", "rb") as file:
            shown = file.read().decode(errors="replace")
        child = subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
        return [dict(os.environ), shown, child]

    def status(self):
        with open("/proc/self/status") as file:
            ours = file.read()
        return [ours, subprocess.run(["cat", "/proc/self/status"], capture_output=True, text=True, check=True).stdout]

    def leave_secrets(self):
        """In memory, in a temporary file, in the environment."""
        global SECRET
        SECRET = os.environ["A_SECRET"] = "hush"
        path = os.path.join(os.environ["TMPDIR"], "secret")
        with open(path, "w") as file:
            file.write("hush")
        return [os.getpid(), path]

    def find_secrets(self):
        tmp = os.environ["TMPDIR"]
        return [os.getpid(), tmp, SECRET, os.environ.get("A_SECRET"), os.listdir(tmp)]

    def leave_running(self):
        """Processes that nothing ties to us: own session, no parent. One is a copy of us, one another program."""
        read, write = os.pipe()
        if os.fork() == 0:
            os.setsid()
            pid = os.fork()
            if pid:
                os.write(write, f"{pid}".encode())
                os._exit(0)
            time.sleep(600)
            os._exit(0)
        copy = int(os.read(read, 20))
        os.wait()
        script = (
            f"import subprocess; print(subprocess.Popen({SLEEP!r}, stdout=-3, stderr=-3, start_new_session=True).pid)"
        )
        other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        return [copy, int(other)]

    def die(self, number):
        os.kill(os.getpid(), int(number))
        time.sleep(10)

    def leave(self, code):
        os._exit(int(code))

    def look(self, path):
        """What is there, or the error."""
        try:
            return sorted(os.listdir(path))
        except OSError as error:
            return type(error).__name__

    def read(self, path):
        try:
            with open(path) as file:
                return file.read()
        except OSError as error:
            return type(error).__name__

    def write(self, path):
        try:
            with open(path, "w") as file:
                file.write("here")
        except OSError as error:
            return type(error).__name__
        return "written"

    def dial(self, host, port):
        try:
            with socket.create_connection((host, int(port)), 2):
                return "connected"
        except OSError as error:
            return type(error).__name__

    def signal_all(self):
        """Every process we can see that is not ours: how many can be signalled?"""
        mine = os.getpgid(0)
        seen = [int(name) for name in os.listdir("/proc") if name.isdecimal()]
        found = 0
        for pid in seen:
            try:
                if os.getpgid(pid) != mine and pid != 1:
                    os.kill(pid, 0)
                    found += 1
            except OSError:
                pass
        return [len(seen), found]

    def engine(self):
        """What the engine lets us do, on the address we were given: [sessions we see, error of a cordon]."""
        with flame.connect() as client:
            seen = len(client.list_sessions())
            try:
                client.cordon(os.environ["FLAME_NODE"])
            except flame.FlameError as error:
                return [seen, type(error).__name__]
            return [seen, ""]

    def ignore_size(self, mebibytes):
        """Write with the signal's default action, as other languages do."""
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        return self.fill(mebibytes)
