"""The manager is killed between submitting and waiting; the published client goes on."""

import json
import os
import signal
import sys
import time

import flamepy

DATA = sys.argv[1]


def pids():
    with open(f"{DATA}/run.json") as file:
        return json.load(file)["pids"]


session = flamepy.create_session("flmping")
session.invoke(b"")
tasks = [session.create_task(b"") for _ in range(50)]
before = pids()["manager"]
os.kill(before, signal.SIGKILL)
deadline = time.monotonic() + 20
while pids()["manager"] == before and time.monotonic() < deadline:
    time.sleep(0.05)
states = []
while time.monotonic() < deadline:
    try:
        states = [task.state.name for task in session.list_tasks()]
    except flamepy.FlameError:
        states = []
    if len(states) == 51 and set(states) == {"SUCCEED"}:
        break
    time.sleep(0.1)
more = session.run(b"").result(timeout=20)
session.close()
print(json.dumps({"states": sorted(set(states)), "count": len(states), "more": more is not None}), flush=True)
os._exit(0)
