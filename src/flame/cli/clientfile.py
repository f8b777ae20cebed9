"""`~/.flame/flame.yaml` as the commands' `--config` names it."""

from __future__ import annotations

from pathlib import Path

import yaml

from flame.core.base.errors import InvalidArgument, NotFound


def endpoint_of(path: Path) -> str:
    """The endpoint of the current context. Raises NotFound without the file, InvalidArgument when it names none."""
    try:
        found = yaml.safe_load(path.read_text())
        current = found["current-context"]
        (context,) = [one for one in found["contexts"] if one["name"] == current]
        return str(context["cluster"]["endpoint"])
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}") from error
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{path}: not YAML: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{path} names no endpoint", hint="it needs current-context and contexts[].{name, cluster.endpoint}"
        ) from error
