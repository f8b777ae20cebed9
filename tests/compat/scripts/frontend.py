"""Applications, sessions and lists, with the published client."""

import json
import os
import sys
import time
import traceback

import flamepy


def say(**what):
    print(json.dumps(what), flush=True)


def died(kind, error, trace):  # the client's pool threads would keep this process
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


sys.excepthook = died


def code_of(call):
    try:
        call()
    except flamepy.FlameError as error:
        return [error.code.name, error.message]
    return None


names = sorted(app.name for app in flamepy.list_applications())
say(apps=names)
attributes = flamepy.ApplicationAttributes(command="/bin/true", description="d", environments={"A": "1"}, labels=["x"])
flamepy.register_application("mine", attributes)
mine = flamepy.get_application("mine")
say(
    mine=[
        mine.command,
        mine.description,
        mine.environments,
        mine.labels,
        mine.max_instances,
        mine.delay_release,
        mine.url,
    ]
)
say(again=code_of(lambda: flamepy.register_application("mine", attributes)))
say(bad=code_of(lambda: flamepy.register_application("../x", attributes)))
schema = flamepy.ApplicationSchema(input='{"type": "objekt"}')
say(
    schema=code_of(lambda: flamepy.register_application("s", flamepy.ApplicationAttributes(command="x", schema=schema)))
)
session = flamepy.create_session("mine", common_data=b"cd", session_id="one", min_instances=0, max_instances=2)
say(session=[session.id, session.application, session.state.name, session.pending, session.common_data().decode()])
say(busy=code_of(lambda: flamepy.unregister_application("mine")))
say(twice=code_of(lambda: flamepy.create_session("mine", session_id="one")))
say(no_app=code_of(lambda: flamepy.create_session("nope")))
say(bad_id=code_of(lambda: flamepy.create_session("mine", session_id="../x")))
say(opened=flamepy.open_session("one").id)
spec = flamepy.SessionAttributes(application="mine", max_instances=5)
say(mismatch=code_of(lambda: flamepy.open_session("one", spec)))
say(unknown=code_of(lambda: flamepy.open_session("two")))
say(made=flamepy.open_session("two", flamepy.SessionAttributes(application="mine")).id)
say(listed=sorted(s.id for s in flamepy.list_sessions() if s.application == "mine"))
for id in ("one", "two"):
    flamepy.close_session(id)
flamepy.close_session("one")
say(closed=code_of(lambda: flamepy.open_session("one")))
say(task=code_of(lambda: session.create_task(b"x")))
say(state=flamepy.get_session("one").state.name)
flamepy.unregister_application("mine")
say(gone=flamepy.get_application("mine"), still=[s.id for s in flamepy.list_sessions() if s.application == "mine"])
say(nodes=[n.status.capacity.cpu > 0 for n in flamepy.list_nodes()])

count = int(sys.argv[1])
session = flamepy.create_session("flmping")
session.invoke(b"")
start = time.perf_counter()
futures = [session.run(b"") for _ in range(count)]
states = {bool(future.result(timeout=60)) for future in futures}
say(rate=count / (time.perf_counter() - start), states=list(states))
task = session.get_task("1")
say(got=[task.id, task.state.name, [event.code for event in task.events]])
say(ids=[int(task.id) for task in session.list_tasks()] == list(range(1, count + 2)))
watched = session.create_task(b"")
say(watch=[task.state.name for task in session.watch_task(watched.id)][-1])
session.close()
say(counts=[flamepy.get_session(session.id).succeed, flamepy.get_session(session.id).state.name])
