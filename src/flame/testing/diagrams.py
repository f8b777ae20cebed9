"""The lifecycle diagrams of the documentation: `python -m flame.testing.diagrams > docs/lifecycles.md`."""

from __future__ import annotations

from flame.core.model.lifecycle import MACHINES

HEAD = """# Lifecycles

Every state machine of Flame is a table in `src/flame/core/model/lifecycle.py`; this page is generated from those tables by
`python -m flame.testing.diagrams > docs/lifecycles.md`, and a test keeps it true.
"""


def document() -> str:
    """The whole page."""
    parts = [f"## {machine.name.capitalize()}\n\n```mermaid\n{machine.diagram()}```\n" for machine in MACHINES]
    return "\n".join([HEAD, *parts])


if __name__ == "__main__":
    print(document(), end="")
