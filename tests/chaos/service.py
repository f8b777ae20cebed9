"""The work: services and functions whose answer can be told from their input, in every attempt."""

from __future__ import annotations

import os
import time

from chaos.history import NAME, answer, parts

import flame

PIECE = 0.02
BIG = 50_000
"""Bytes around the name of a `big` task, and of its answer."""


class Refused(Exception):
    """A task that fails on purpose."""


def work(name: str, attempt: int, stopped: object = None) -> str:
    """what: echo, big, sleep:SECONDS, fail:N (until attempt N), broken (always), exit (kills its executor)"""
    what, _, argument = parts(name)[3].partition(":")
    if what == "sleep":
        end = time.monotonic() + float(argument)
        while (left := end - time.monotonic()) > 0:
            if callable(stopped) and stopped():
                break
            time.sleep(min(PIECE, left))
    if what == "broken" or (what == "fail" and attempt < int(argument)):
        raise Refused(name)
    if what == "exit":
        os._exit(9)
    return answer(name, attempt)


class Echo(flame.FlameService):
    def on_task_invoke(self, ctx: flame.TaskContext) -> bytes:
        payload = ctx.input or b""
        found = NAME.search(payload)
        assert found is not None, payload[:100]
        said = work(found[0].decode(), ctx.attempt, lambda: ctx.cancelled).encode()
        return said + b"." * BIG if len(payload) > BIG else said


@flame.task(retries=3)
def function(name: str) -> str:
    context = flame.current_task()
    return work(name, context.attempt if context is not None else 1)
