"""`python -m flame.agent.sandboxed FILE`: an executor that was started, not forked. FILE is its order; it is read once and removed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from flame.agent.orders import Order
from flame.agent.zygote import execute


def main() -> NoReturn:
    path = Path(sys.argv[1])
    order = msgspec.json.decode(path.read_bytes(), type=Order)
    path.unlink()
    execute(order)


if __name__ == "__main__":
    main()
