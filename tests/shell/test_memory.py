"""Memory that is given back, measured in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, sys
from flame.platform import memory

memory.QUIET = 0.05
memory.one_arena()

async def main(work_after):
    done = 0
    task = asyncio.create_task(memory.keep_small(lambda: done))
    await asyncio.sleep(0)
    blocks = [b"x" * (2000 + at % 2) for at in range(30_000)]
    done = 1
    kept = blocks[::100]  # everywhere in the heap: its end cannot move
    del blocks
    full = memory.resident_bytes()
    for _ in range(12):
        await asyncio.sleep(0.04)
        done += work_after
    task.cancel()
    print(full - memory.resident_bytes(), len(kept))

asyncio.run(main(int(sys.argv[1])))
"""


def returned(work_after: int) -> int:
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(work_after)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return int(done.stdout.split()[0])


@pytest.mark.skipif(sys.platform != "linux", reason="other allocators decide by themselves")
def test_freed_pages_go_back_when_a_burst_is_over_and_not_in_the_middle_of_it():
    assert returned(work_after=0) > 30 * 2**20
    assert returned(work_after=1) < 5 * 2**20
