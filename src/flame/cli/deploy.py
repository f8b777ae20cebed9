"""`flmctl deploy`: pack an application, put the package where nodes find it, register it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from flame.cli.cluster import connected
from flame.cli.manifest import SHIMS
from flame.cli.output import say_data, write
from flame.cli.package import Package, pack
from flame.core.base.errors import InvalidArgument
from flame.core.model.messages import AppSpec

Text = Annotated[str | None, typer.Option()]


def deploy(
    name: Annotated[str, typer.Option("--name", help="of the application")],
    application: Annotated[Path, typer.Option("--application", help="a program, a .tar.gz or a directory")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done")] = False,
    output: Annotated[str, typer.Option("-o", "--output", help="summary | yaml | json")] = "summary",
    shim: Annotated[str, typer.Option(help="Host or Wasm")] = "Host",
    image: Text = None,
    description: Text = None,
    label: Annotated[list[str] | None, typer.Option(help="repeat it")] = None,
    command: Annotated[str | None, typer.Option(help="else found out")] = None,
    argument: Annotated[list[str] | None, typer.Option(help="repeat it")] = None,
    env: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="repeat it")] = None,
    working_directory: Text = None,
    max_instances: Annotated[int | None, typer.Option(min=1)] = None,
    delay_release: Annotated[int | None, typer.Option(min=0, help="seconds")] = None,
    installer: Annotated[str | None, typer.Option(help="binary or python, else found out")] = None,
    schema_input: Text = None,
    schema_output: Text = None,
    schema_common_data: Text = None,
) -> None:
    """Pack an application, store the package and register it."""
    if output not in ("summary", "yaml", "json"):
        raise typer.BadParameter("one of summary, yaml, json", param_hint="--output")
    if shim not in SHIMS:
        raise typer.BadParameter("one of Host, Wasm", param_hint="--shim")
    if installer not in (None, "binary", "python"):
        raise typer.BadParameter("one of binary, python", param_hint="--installer")
    package = pack(name, application, installer, command)
    target = packages() / package.key(name)
    default = AppSpec()
    spec = AppSpec(
        shim=SHIMS[shim],
        description=description,
        labels=tuple(label or ()),
        image=image,
        command=package.command,
        arguments=tuple(argument or package.arguments),
        environments=dict(_pair(one) for one in env or ()),
        working_directory=working_directory,
        max_instances=max_instances if max_instances is not None else default.max_instances,
        delay_release=float(delay_release) if delay_release is not None else default.delay_release,
        schema_input=schema_input,
        schema_output=schema_output,
        schema_common_data=schema_common_data,
        url=target.as_uri(),
        installer=package.installer,
    )
    if not dry_run:
        _publish(name, spec, package, target)
    _say(name, spec, package, dry_run, output, delay_release)


def packages() -> Path:
    """Where packages lie until there is an object cache: beside the data of the cluster running here, else in the home directory."""
    from flame.ops.paths import RunFile, default_file, home

    running = RunFile.read(default_file())
    base = Path(running.data_dir) if running is not None and running.alive else home()
    return base / "packages"


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise InvalidArgument(f"--env {text!r} is not NAME=VALUE")
    return name, value


def _publish(name: str, spec: AppSpec, package: Package, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with connected() as client:
        partial = target.with_suffix(f".{os.getpid()}")
        partial.write_bytes(package.data)
        partial.replace(target)
        client.register(name, spec)


def document(name: str, spec: AppSpec) -> dict[str, Any]:
    """The application as `flmctl register` reads it."""
    body: dict[str, Any] = {"shim": "Host" if spec.shim == 0 else "Wasm"}
    for key in ("description", "image", "command", "working_directory", "url", "installer"):
        if getattr(spec, key) is not None:
            body[key] = getattr(spec, key)
    for key in ("labels", "arguments"):
        if getattr(spec, key):
            body[key] = list(getattr(spec, key))
    if spec.environments:
        body["environments"] = dict(spec.environments)
    body["max_instances"], body["delay_release"] = spec.max_instances, round(spec.delay_release)
    parts = {"input": spec.schema_input, "output": spec.schema_output, "common_data": spec.schema_common_data}
    if schema := {key: text for key, text in parts.items() if text is not None}:
        body["schema"] = schema
    return {"metadata": {"name": name}, "spec": body}


def _say(name: str, spec: AppSpec, package: Package, dry_run: bool, output: str, delay: int | None) -> None:
    if output == "yaml":
        say_data(document(name, spec), "yaml")
    elif output == "json":
        say_data(
            {
                "name": name,
                "input_kind": package.kind,
                "installer": package.installer,
                "command": spec.command,
                "arguments": list(spec.arguments),
                "object_key": package.key(name),
                "url": spec.url,
                "sha256": package.sha256,
                "dry_run": dry_run,
                "application": document(name, spec),
            },
            "json",
        )
    else:
        write(f"Application <{name}> {'deploy plan.' if dry_run else 'deployed.'}")
        lines = [("Input Kind", package.kind), ("Installer", package.installer), ("Command", spec.command or "")]
        if delay is not None:
            lines.append(("Delay Release", str(delay)))
        if spec.arguments:
            lines.append(("Arguments", " ".join(spec.arguments)))
        lines += [("Object", package.key(name)), ("SHA256", package.sha256), ("URL", spec.url or "")]
        if dry_run:
            lines.append(("Dry Run", "true"))
        for label, value in lines:
            write(f"{label}: {value}")
