"""Estimate pi: many short tasks throw darts at the unit square."""

import json
import sys
from pathlib import Path

import flame

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
THROWS = 100_000

with flame.connect() as client:
    client.register("pi", service="service:Pi", path=Path(__file__).parent)
    with client.session("pi") as session:
        inputs = [json.dumps([THROWS, seed]).encode() for seed in range(TASKS)]
        inside = sum(json.loads(output) for output in session.map(inputs))
        print(f"{TASKS} tasks: pi is about {4 * inside / (TASKS * THROWS):.4f}")
