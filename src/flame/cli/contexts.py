"""`~/.flame/flame.yaml`: the clusters somebody logged in to. Published clients read the same file.

A token and a CA are kept in files of their own beside it, mode 0600, so that the YAML may be shown to anybody.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flame.core.base.errors import InvalidArgument
from flame.ops.paths import home, write_private


def store(name: str, endpoint: str, token: str, authority: bytes | None) -> Path:
    """Remember a context and make it the current one. Returns the path of the file. Raises InvalidArgument for a bad name or file."""
    if not name or not name.replace("-", "").replace("_", "").isalnum():
        raise InvalidArgument(f"context name {name!r}", hint="letters, digits, - and _")
    home().mkdir(mode=0o700, exist_ok=True)
    token_file, ca_file = home() / f"{name}.token", home() / f"{name}.ca.pem"
    write_private(token_file, token + "\n")
    cluster: dict[str, Any] = {"endpoint": _published(endpoint), "plane": endpoint, "token_file": str(token_file)}
    if authority is not None:
        write_private(ca_file, authority.decode())
        cluster["tls"] = {"ca_file": str(ca_file)}
    found = _read()
    others = [one for one in found.get("contexts", []) if one.get("name") != name]
    same: dict[str, Any] = next((one for one in found.get("contexts", []) if one.get("name") == name), {})
    found["contexts"] = [*others, same | {"name": name, "cluster": cluster}]
    found["current-context"] = name
    return _write(found)


def forget(name: str) -> bool:
    """Remove a context with its files. False when there is none."""
    found = _read()
    kept = [one for one in found.get("contexts", []) if one.get("name") != name]
    if len(kept) == len(found.get("contexts", [])):
        return False
    found["contexts"] = kept
    if found.get("current-context") == name:
        found["current-context"] = kept[0]["name"] if kept else None
    _write(found)
    for path in (home() / f"{name}.token", home() / f"{name}.ca.pem"):
        path.unlink(missing_ok=True)
    return True


def _published(endpoint: str) -> str:
    """As published clients write it: the first address, by its scheme of the web."""
    first = endpoint.split(",")[0]
    return first.replace("tls://", "https://").replace("tcp://", "http://")


def _read() -> dict[str, Any]:
    import yaml

    path = home() / "flame.yaml"
    if not path.exists():
        return {}
    try:
        found = yaml.safe_load(path.read_text()) or {}
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{path} is not YAML: {error}") from None
    if not isinstance(found, dict) or not isinstance(found.get("contexts", []), list):
        raise InvalidArgument(f"{path} is not a client configuration", hint="its top is a mapping with `contexts`")
    return found


def _write(content: dict[str, Any]) -> Path:
    import yaml

    path = home() / "flame.yaml"
    write_private(path, yaml.safe_dump(content, sort_keys=False))
    return path
