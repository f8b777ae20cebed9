"""The services of an installation: units where systemd runs and we are root, else a keeper of our own.

Either starts a service again when it ends unasked. The keeper is a shell loop in a session of its own: `sbin/flmkeep NAME
start|stop|status`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from flame.cli.prefix import CONTROL, WORKER, Wanted
from flame.core.base.errors import FlameError, Unavailable
from flame.ops.paths import RunFile

UNITS = Path("/etc/systemd/system")
START_LIMIT = 30.0
STOP_LIMIT = 30.0
_KEEPER = """#!/bin/sh
# Keeps one service of this installation running. usage: flmkeep NAME start|stop|status
home="$(cd "$(dirname "$0")/.." && pwd)"
name="$1"; pidfile="$home/work/$name.pid"; run="$home/sbin/run-$name"
alive() { [ -f "$pidfile" ] && kill -0 "$(cat "$pidfile")" 2>/dev/null; }
case "$2" in
start)
    alive && exit 0
    setsid sh -c 'echo $$ > "$1"
        trap "kill \\$child 2>/dev/null; wait; rm -f \\"$1\\"; exit 0" TERM INT
        while :; do "$2" >> "$3" 2>&1 & child=$!; wait $child; sleep 1; done' keeper "$pidfile" "$run" "$home/logs/$name.log" \\
        </dev/null >/dev/null 2>&1 &
    ;;
stop)
    alive || exit 0
    kill "$(cat "$pidfile")"
    n=0; while alive && [ $n -lt 300 ]; do sleep 0.1; n=$((n + 1)); done
    ! alive
    ;;
status) alive ;;
*) echo "usage: flmkeep NAME start|stop|status" >&2; exit 2 ;;
esac
"""


def systemd_runs() -> bool:
    return Path("/run/systemd/system").is_dir() and shutil.which("systemctl") is not None


def names(wanted: Wanted) -> list[str]:
    """Services of these profiles, in the order in which they start."""
    found = ["flame-control-plane"] if CONTROL in wanted.profiles else []
    if WORKER in wanted.profiles and CONTROL not in wanted.profiles:
        found.append("flame-worker")
    return found


def data_dir(wanted: Wanted, name: str) -> Path:
    return wanted.root / ("data" if name == "flame-control-plane" else "work/node")


def write(wanted: Wanted) -> None:
    """The scripts that start the services, the keeper, and the units where systemd is wanted."""
    sbin = wanted.root / "sbin"
    for name in names(wanted):
        path = sbin / f"run-{name}"
        path.write_text(f"#!/bin/sh\nexec {_line(wanted, name)}\n")
        path.chmod(0o755)
        if wanted.systemd:
            (UNITS / f"{name}.service").write_text(_unit(wanted, name))
    keeper = sbin / "flmkeep"
    keeper.write_text(_KEEPER)
    keeper.chmod(0o755)
    if wanted.systemd:
        _systemctl("daemon-reload")


def _line(wanted: Wanted, name: str) -> str:
    root = wanted.root
    if name == "flame-control-plane":
        return f'"{root}/bin/flame" up --data-dir "{root}/data" --config "{root}/conf/flame-cluster.yaml"'
    node = f" --name {wanted.node}" if wanted.node else ""
    pin = f" --ca-hash {wanted.ca_hash}" if wanted.ca_hash else ""
    return f'"{root}/bin/flame" agent join {wanted.join}{pin}{node} --data-dir "{root}/work/node"'


def _unit(wanted: Wanted, name: str) -> str:
    root = wanted.root
    return f"""[Unit]
Description=Flame: {name.removeprefix("flame-")}
After=network-online.target
Wants=network-online.target

[Service]
ExecStart={root}/sbin/run-{name}
Environment=FLAME_HOME={root}
WorkingDirectory={root}/work
Restart=on-failure
RestartSec=5
KillMode=mixed
Delegate=yes
LimitNOFILE=65536
StandardOutput=append:{root}/logs/{name}.log
StandardError=append:{root}/logs/{name}.log

[Install]
WantedBy=multi-user.target
"""


def start(wanted: Wanted) -> None:
    """Start them and wait until each is up. Raises Unavailable with the end of its log."""
    for name in names(wanted):
        if wanted.systemd:
            _systemctl("enable", "--now", name)
        else:
            _keep(wanted, name, "start")
        deadline = time.monotonic() + START_LIMIT
        while not is_up(wanted, name):
            if time.monotonic() > deadline:
                log = wanted.root / "logs" / f"{name}.log"
                tail = log.read_text(errors="replace").strip().splitlines()[-1:] if log.exists() else []
                stop(wanted)
                raise Unavailable(f"{name} did not start within {START_LIMIT:g} s: {' '.join(tail)}", hint=f"see {log}")
            time.sleep(0.05)


def is_up(wanted: Wanted, name: str) -> bool:
    """Does it say so itself?"""
    run = RunFile.read(data_dir(wanted, name) / "run.json")
    return run is not None and run.alive


def stop(wanted: Wanted) -> None:
    """In the reverse order; a service that does not run is stopped already. Raises FlameError."""
    for name in reversed(names(wanted)):
        if wanted.systemd:
            _systemctl("disable", "--now", name)
            (UNITS / f"{name}.service").unlink(missing_ok=True)
            _systemctl("daemon-reload")
        else:
            _keep(wanted, name, "stop")


def _keep(wanted: Wanted, name: str, verb: str) -> None:
    keeper = wanted.root / "sbin" / "flmkeep"
    if not keeper.exists():
        return
    done = subprocess.run(
        [str(keeper), name, verb], capture_output=True, text=True, timeout=STOP_LIMIT + 10, check=False
    )
    if done.returncode:
        raise FlameError(f"flmkeep {name} {verb} failed: {done.stderr.strip()}")


def _systemctl(*words: str) -> None:
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise FlameError(f"systemctl {' '.join(words)} failed: {done.stderr.strip()}")


def is_root() -> bool:
    return os.geteuid() == 0
