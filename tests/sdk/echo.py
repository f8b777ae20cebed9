"""The echo service of the SDK suite, as in the other languages: a task's output is its input, unless the input is a word it knows."""

from __future__ import annotations

import os
import sys
import time

import flame


class Echo(flame.FlameService):
    def on_session_enter(self, ctx):
        self.tasks = 0
        if ctx.common_data == b"refuse":
            raise flame.ServiceFailed("asked to refuse")

    def on_task_invoke(self, ctx):
        self.tasks += 1
        match ctx.input:
            case b"common":
                return ctx.common_data
            case b"count":
                return b"%d" % self.tasks
            case b"pid":
                return b"%d" % os.getpid()
            case b"fail":
                raise flame.TaskFailed("asked to fail", return_code=7)
            case b"exit":
                print("last words", file=sys.stderr, flush=True)
                os._exit(3)
            case b"wait":
                while not ctx.cancelled:
                    time.sleep(0.005)
        return ctx.input

    def on_session_leave(self):
        print(f"left after {self.tasks} tasks", flush=True)


if __name__ == "__main__":
    flame.run(Echo())
