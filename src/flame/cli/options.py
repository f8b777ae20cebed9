"""Options that many commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flame.cli.output import VOICES

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="of the cluster; else the one running here")]
Endpoint = Annotated[str | None, typer.Option("--endpoint", envvar="FLAME_ENDPOINT", help="another cluster")]

Labels = Annotated[list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="of this node; may be repeated")]
Taints = Annotated[
    list[str] | None,
    typer.Option("--taint", metavar="KEY=VALUE:Effect", help="NoSchedule, PreferNoSchedule or NoExecute; repeated"),
]
SimulatedGpus = Annotated[
    str | None,
    typer.Option("--simulate-gpus", metavar="MODEL:COUNTxMEMORY,...", help="GPUs that are only said to be there"),
]


def _voice(value: str) -> str:
    if value not in VOICES:
        raise typer.BadParameter(f"one of {', '.join(VOICES)}")
    return value


Voice = Annotated[str, typer.Option("-o", "--output", callback=_voice, help=" | ".join(VOICES))]
