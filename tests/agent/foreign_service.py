"""A foreign service that does what its environment variable MISBEHAVE says."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor

HOW = os.environ.get("MISBEHAVE", "")
ENDPOINT = os.environ["FLAME_INSTANCE_ENDPOINT"]

if HOW == "exit":
    sys.exit("cannot find my model")
if HOW == "silent":
    time.sleep(600)
if HOW == "garbage":
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(ENDPOINT)
    listener.listen()
    while True:
        peer, _ = listener.accept()
        peer.sendall(b"HTTP/1.1 200 OK\r\n\r\nhello" * 100)
        peer.close()

import grpc  # noqa: E402

from flame.wire.v1 import shim_pb2 as pb  # noqa: E402
from flame.wire.v1 import shim_pb2_grpc, types_pb2  # noqa: E402


class Service(shim_pb2_grpc.InstanceServicer):
    def OnSessionEnter(self, request, context):
        self.request = request
        if HOW == "refuse":
            return types_pb2.Result(return_code=1, message="not today")
        if HOW == "enter-raises":
            raise RuntimeError("boom in enter")
        return types_pb2.Result()

    def OnTaskInvoke(self, request, context):
        if request.input == b"exit":
            print("last words", file=sys.stderr, flush=True)
            os._exit(7)
        if request.input == b"kill":
            os.kill(os.getpid(), signal.SIGSEGV)
            time.sleep(30)  # another thread may take the signal
        if request.input == b"raise":
            raise RuntimeError("boom in invoke")
        if request.input == b"huge":
            return types_pb2.TaskResult(output=bytes(70 * 1024 * 1024))
        if request.input == b"fail":
            return types_pb2.TaskResult(return_code=5, message="five")
        if request.input == b"context":
            said = self.request.application.command + "|" + self.request.session_id + "|" + request.task_id
            return types_pb2.TaskResult(output=said.encode())
        if request.input == b"env":
            return types_pb2.TaskResult(output="\n".join(f"{k}={v}" for k, v in os.environ.items()).encode())
        if not request.HasField("input"):
            return types_pb2.TaskResult()
        return types_pb2.TaskResult(output=request.input)

    def OnSessionLeave(self, request, context):
        if HOW == "leave-hangs":
            time.sleep(600)
        return types_pb2.Result()


server = grpc.server(ThreadPoolExecutor(4))
shim_pb2_grpc.add_InstanceServicer_to_server(Service(), server)
server.add_insecure_port(f"unix:{ENDPOINT}")
server.start()
assert pb
server.wait_for_termination()
