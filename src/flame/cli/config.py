"""`flame config`: the settings that hold, each with where it comes from, and whether a file of them is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flame.cli import running
from flame.cli.objects.files import bodies
from flame.cli.options import DataDir, Endpoint, Voice
from flame.cli.output import Column, say_data, say_list, write
from flame.core.base.errors import InvalidArgument, NoCluster
from flame.core.objects.kinds.configuration import CONFIG_MAP, HELM_VALUES
from flame.core.objects.settings import Setting, Settings, Source, config_source, effective, values_source
from flame.core.objects.tree import CONFIG_MAPS, NAMESPACE
from flame.wire.manifests import parse

if TYPE_CHECKING:
    from flame.sdk.objects import Objects

app = typer.Typer(help="Settings of the cluster.", no_args_is_help=True)
PARTS = {"gpu": "gpu-config", "monitoring": "monitoring-config", "logging": "logging-config", "flame": "flame-config"}
"""Word -> the ConfigMap that may hold that part."""


@app.command()
def show(
    part: Annotated[
        str, typer.Argument(metavar="[PART | KEY]", help="gpu, monitoring, logging, flame, or a key such as scheduling")
    ] = "",
    origin: Annotated[bool, typer.Option("--origin", help="with where each comes from")] = False,
    file: Annotated[
        list[str] | None, typer.Option("-f", "--filename", help="settings that hold with these files; asks no cluster")
    ] = None,
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
    voice: Voice = "table",
) -> None:
    """Say what holds: defaults, then the ConfigMaps of flame-system, then the values file."""
    if file:
        found = effective(_of_files(file))
    else:
        with running.client(data_dir, endpoint) as client:
            found = effective(stored(client.objects))
    settings = _part(found, part)
    if voice in ("json", "yaml") and not origin:
        say_data(_tree(settings), voice)
        return
    if voice in ("json", "yaml"):
        say_data([{"key": s.path, "value": s.value, "origin": s.origin} for s in settings], voice)
        return
    records = [{"key": s.path, "value": s.value, "origin": s.origin} for s in settings]
    columns = [Column("Key", lambda r: r["key"]), Column("Value", lambda r: _text(r["value"]))]
    columns.append(Column("Origin", lambda r: r["origin"], wide=not origin))
    say_list(records, columns, voice, name="key")


def stored(objects: Objects) -> list[Source]:
    """What is stored in the cluster, with the lines of the texts in ConfigMaps."""
    found = []
    for body in objects.list(HELM_VALUES.name).items:
        found.append(values_source(body, f"FlameValues {body['metadata']['name']}"))
    for body in objects.list(CONFIG_MAP.name, namespace=NAMESPACE).items:
        source = config_source(body, parse)
        found += [source] if source is not None else []
    return found


def _of_files(files: Sequence[str]) -> list[Source]:
    """Raises InvalidArgument for a file that holds other things than settings."""
    found = []
    for kind, body in bodies(files):
        source = (
            values_source(body, files[0])
            if kind is HELM_VALUES
            else config_source(body, parse)
            if kind is CONFIG_MAP
            else None
        )
        if source is None:
            raise InvalidArgument(
                f"{kind.name} {body['metadata']['name']} holds no settings",
                hint=f"a values file, or the ConfigMaps {', '.join(CONFIG_MAPS)} of {NAMESPACE}",
            )
        found.append(source)
    return found


def _part(settings: Settings, part: str) -> list[Setting]:
    """Raises NotFound for what is no part and no key."""
    config = PARTS.get(part.removesuffix("-config"))
    if config is None:
        return settings.show(part)
    return [
        setting
        for top in CONFIG_MAPS[config][1].fields
        for setting in settings.show()
        if setting.path.split(".")[0].split("[")[0] == top
    ]


def _tree(settings: Sequence[Setting]) -> dict[str, Any]:
    return Settings({setting.path: setting for setting in settings}).tree()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        import json

        return json.dumps(value)
    return str(value)


@app.command()
def check(
    file: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="ConfigMaps or a values file; - for the standard input")
    ],
    data_dir: DataDir = None,
    endpoint: Endpoint = None,
) -> None:
    """Say whether files of settings are right: alone, and with what the cluster has, if one runs."""
    sources = _of_files(file)
    names = {source.name.rpartition(":")[0] or source.name for source in sources}
    others: list[Source] = []
    try:
        with running.client(data_dir, endpoint) as client:
            others = [source for source in stored(client.objects) if source.name not in names]
    except NoCluster:
        pass  # alone, then
    effective([*others, *sources])
    write(f"{', '.join(file)}: right{', with the settings of the cluster' if others else ''}")


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="config")
