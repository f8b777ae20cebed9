"""A published service behind the shim, driven by the published client."""

import json
import os
import sys
import time
import traceback

import flamepy

PYTHON, SERVICE, MARK = sys.argv[1:4]


def say(**what):
    print(json.dumps(what), flush=True)


def died(kind, error, trace):  # the client's pool threads would keep this process
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


sys.excepthook = died


def outcome(future):
    try:
        result = future.result(timeout=60)
    except flamepy.FlameError as error:
        return ["error", error.message]
    return ["ok", None if result is None else result.decode()]


flamepy.register_application(
    "echo",
    flamepy.ApplicationAttributes(
        command=PYTHON,
        arguments=["-W", "ignore", SERVICE],
        environments={"MARK_LEFT": MARK, "MARK": "${HOME}/x"},
        delay_release=1,
    ),
)
session = flamepy.create_session("echo", common_data=b"hello", max_instances=1)
inputs = [b"one", b"empty", b"none", b"fail", b"two"]
say(outcomes=[outcome(future) for future in [session.run(data) for data in inputs]])
say(who=json.loads(session.invoke(b"who")))
session.invoke(b"warm")
start = time.perf_counter()
futures = [session.run(b"x") for _ in range(300)]
say(same=all(future.result(timeout=60) == b"x" for future in futures), rate=300 / (time.perf_counter() - start))
session.close()

refused = flamepy.create_session("echo", common_data=b"refuse", max_instances=1)
refused.create_task(b"x")
deadline = time.time() + 40
events = []
while time.time() < deadline and not events:
    events = [event.message for event in flamepy.get_session(refused.id).events]
    time.sleep(0.2)
say(refused=events[:1])
flamepy.close_session(refused.id)
