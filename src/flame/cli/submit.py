"""`flmctl submit`: register the application when it is new, open a session, submit, and (with `--wait`) exit with the result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flame.cli.manifest import Manifest, read_manifests
from flame.cli.output import fail, say_data, table, write
from flame.core.base.errors import AlreadyExists, FlameError, InvalidArgument, NotFound


def submit(
    client: Any,
    file: str,
    texts: list[str],
    input_file: Path | None,
    count: int,
    wait: bool,
    priority: int,
    resreq: str | None,
    voice: str,
) -> int:
    """Returns the exit code: 0, or 1 when a task did not succeed."""
    name = application(client, file)
    inputs = payloads(texts, input_file, count)
    session = client.session(name, priority=priority, resources=resreq, detached=True)
    if voice == "table":
        write(f"Session <{session.id}> was created, <{len(inputs):,}> tasks were submitted.")
    futures = [session.run(payload) for payload in inputs]
    session.flush()
    if not wait:
        if voice != "table":
            say_data({"session": session.id, "tasks": len(inputs)}, voice)
        return 0
    results = [result(no, future) for no, future in enumerate(futures, 1)]
    client.close_session(session.id)
    say(session.id, results, voice)
    failed = [one for one in results if one["state"] != "Succeed"]
    if failed:
        return fail(FlameError(f"{len(failed):,} of {len(results):,} tasks did not succeed: {failed[0]['output']}"))
    return 0


def application(client: Any, file: str) -> str:
    """The name to use: of a document, registered now if it is new, or of an application that exists."""
    path = Path(file)
    if not path.exists() and path.suffix not in (".yaml", ".yml"):
        try:
            return str(client.get_app(file).name)
        except NotFound as error:
            raise NotFound(
                f"{file} is neither a file nor an application", hint="flmctl list -a shows the applications"
            ) from error
    manifests = read_manifests(path)
    if len(manifests) != 1:
        raise InvalidArgument(f"{file} has {len(manifests)} documents, submit takes one")
    registered(client, manifests[0])
    return manifests[0].name


def registered(client: Any, manifest: Manifest) -> None:
    try:
        client.register(manifest.name, manifest.spec)
    except AlreadyExists:
        if client.get_app(manifest.name).spec != manifest.spec:
            raise AlreadyExists(
                f"application {manifest.name} is registered with another specification",
                hint="flmctl update -a FILE changes it",
            ) from None


def payloads(texts: list[str], input_file: Path | None, count: int) -> list[bytes | None]:
    found: list[bytes | None] = [text.encode() for text in texts]
    if input_file is not None:
        try:
            found += input_file.read_bytes().splitlines()
        except FileNotFoundError as error:
            raise NotFound(f"there is no file {input_file}") from error
    return found or [None] * count


def result(no: int, future: Any) -> dict[str, Any]:
    error = future.exception()
    if error is None:
        output = future.result()
        return {"task": no, "state": "Succeed", "output": (output or b"").decode(errors="replace")}
    state = "Cancelled" if getattr(error, "code", "") == "task_cancelled" else "Failed"
    return {"task": no, "state": state, "output": str(getattr(error, "message", error))}


def say(session: str, results: list[dict[str, Any]], voice: str) -> None:
    if voice in ("json", "yaml"):
        say_data({"session": session, "tasks": results}, voice)
    else:
        write(table(("Task", "State", "Output"), [(str(r["task"]), r["state"], r["output"]) for r in results]))
