"""Estimate pi with a function: no service, no registration."""

import random
import sys

import flame

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 else 100
THROWS = 20_000


@flame.task
def inside(seed: int) -> int:
    rng = random.Random(seed)
    return sum(rng.random() ** 2 + rng.random() ** 2 <= 1.0 for _ in range(THROWS))


hits = sum(inside.map(range(TASKS)))
print(f"{TASKS} tasks: pi is about {4 * hits / (TASKS * THROWS):.4f}")
