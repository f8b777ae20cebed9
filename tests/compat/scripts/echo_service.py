"""A service as published: speaks when it enters, counts its tasks, fails when asked, knows empty from absent."""

import json
import os
from pathlib import Path

import flamepy


class Echo(flamepy.FlameService):
    def on_session_enter(self, context):
        self.session, self.common, self.tasks = context.session_id, context.common_data(), 0
        if self.common == b"refuse":
            raise ValueError("the service will not enter")

    def on_task_invoke(self, context):
        self.tasks += 1
        if context.input == b"fail":
            raise ValueError("the task said fail")
        if context.input == b"none" or context.input is None:
            return None
        if context.input == b"empty":
            return b""
        if context.input == b"die":
            os._exit(3)
        if context.input == b"who":
            who = {"session": self.session, "tasks": self.tasks, "pid": os.getpid(), "cwd": str(Path.cwd())}
            who["env"] = {k: v for k, v in os.environ.items() if k.startswith(("FLAME_", "TMP", "MARK"))}
            who["common"] = self.common.decode() if self.common is not None else None
            return json.dumps(who).encode()
        return context.input

    def on_session_leave(self):
        path = os.environ.get("MARK_LEFT")
        if path:
            with Path(path).open("a") as file:
                file.write(f"{self.session} {self.tasks}\n")


if __name__ == "__main__":
    flamepy.run(Echo())
