"""The published interface: our protos against the descriptors that flamepy 0.6.0 carries."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

DUMP = """
import json, sys, warnings
warnings.simplefilter("ignore")
from importlib import import_module
from google.protobuf import descriptor_pb2
package, found = sys.argv[1], {}
def field(f):
    return [f.name, f.number, f.type, f.label, f.type_name, f.proto3_optional, f.oneof_index if f.HasField("oneof_index") else None]
for name in sys.argv[2:]:
    file = descriptor_pb2.FileDescriptorProto()
    import_module(f"{package}.{name}_pb2").DESCRIPTOR.CopyToProto(file)
    assert file.package == "flame.v1" and file.syntax == "proto3"
    for message in file.message_type:
        found["message " + message.name] = [[field(f) for f in message.field], list(message.reserved_name),
            [(r.start, r.end) for r in message.reserved_range], [o.name for o in message.oneof_decl]]
    for enum in file.enum_type:
        found["enum " + enum.name] = [[v.name, v.number] for v in enum.value]
    for service in file.service:
        found["service " + service.name] = [
            [r.name, r.input_type, r.output_type, r.client_streaming, r.server_streaming] for r in service.method]
print(json.dumps(found))
"""


def described(package: str, *files: str) -> dict[str, object]:
    """Descriptors of a generated package, read in a process of its own (two copies cannot share one pool)."""
    done = subprocess.run([sys.executable, "-c", DUMP, package, *files], capture_output=True, text=True, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.ledger("A-51")
def test_every_message_enum_and_service_equals_the_published_one():
    theirs = described("flamepy.proto", "types", "frontend", "shim")
    ours = described("flame.wire.v1", "types", "frontend", "shim")
    assert sorted(ours) == sorted(theirs)
    for name, value in theirs.items():
        assert ours[name] == value, name


def test_the_backend_has_the_calls_and_numbers_of_the_contract():
    ours = described("flame.wire.v1", "backend")
    calls = [call[0] for call in ours["service Backend"]]
    assert calls == [
        "RegisterNode", "SyncNode", "ReleaseNode", "WatchNode", "RegisterExecutor", "UnregisterExecutor", "BindExecutor",
        "BindExecutorCompleted", "UnbindExecutor", "UnbindExecutorCompleted", "LaunchTask", "CompleteTask",
    ]  # fmt: skip
    numbers = {name: {f[0]: f[1] for f in value[0]} for name, value in ours.items() if name.startswith("message")}
    assert numbers["message CompleteTaskRequest"] == {"executor_id": 1, "task_result": 2}
    assert numbers["message BindExecutorResponse"] == {"application": 1, "session": 2}
    assert numbers["message WatchNodeResponse"] == {"executor": 1, "ack": 2}
    assert numbers["message RegisterNodeRequest"] == {"node": 1, "executors": 2}


def test_the_generated_code_is_what_the_protos_generate():
    done = subprocess.run(["scripts/protoc.sh", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
