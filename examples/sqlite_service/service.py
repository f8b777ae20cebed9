"""Looks words up in a database. The connection is opened when the executor enters the session and closed when it leaves."""

import os
import sqlite3

import flame


class Lookup(flame.FlameService):
    def on_session_enter(self, ctx: flame.SessionContext) -> None:
        path = ctx.common_data.decode()
        self.connection = sqlite3.connect(path, timeout=30)
        with self.connection:
            self.connection.execute("INSERT INTO opened VALUES (?)", (os.getpid(),))

    def on_task_invoke(self, ctx: flame.TaskContext) -> bytes | None:
        row = self.connection.execute(
            "SELECT capital FROM capitals WHERE country = ?", (ctx.input.decode(),)
        ).fetchone()
        return row[0].encode() if row else None

    def on_session_leave(self) -> None:
        self.connection.close()
