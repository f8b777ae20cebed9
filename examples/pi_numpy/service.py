"""Throws darts. numpy is imported once per executor, whatever the number of tasks."""

import json

import numpy

import flame


class Pi(flame.FlameService):
    def on_task_invoke(self, ctx: flame.TaskContext) -> bytes:
        throws, seed = json.loads(ctx.input)
        points = numpy.random.default_rng(seed).random((throws, 2))
        inside = int(((points**2).sum(axis=1) <= 1.0).sum())
        return json.dumps(inside).encode()
