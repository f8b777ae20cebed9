"""Application documents in YAML -> AppSpec, every mistake with its file and line.

metadata: {name: my-app}
spec: {shim: Host, command: /usr/bin/my-service, max_instances: 4, delay_release: 10}
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from flame.core.base.errors import InvalidArgument, NotFound
from flame.core.base.ids import check_app_name
from flame.core.model.messages import AppSpec
from flame.manager.schema import check_schemas

SHIMS = {"Host": 0, "host": 0, "Wasm": 1, "wasm": 1, "WASM": 1}
TEXTS = ("description", "image", "command", "working_directory", "url", "installer")
_KINDS = {"str": "a text", "int": "a whole number", "float": "a number", "bool": "a boolean", "null": "nothing"}


class Manifest(NamedTuple):
    name: str
    spec: AppSpec
    warnings: tuple[str, ...]


def read_manifests(path: Path) -> list[Manifest]:
    """Every document of a file. Raises NotFound without the file and InvalidArgument with the line of the first mistake."""
    try:
        text = path.read_text()
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path}", hint="give the path of a YAML file") from error
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{path}: not a text file: {error.reason} at byte {error.start}") from error
    return parse_manifests(text, str(path))


def parse_manifests(text: str, where: str) -> list[Manifest]:
    """The documents of a text; empty ones (a file that begins with `---`) are skipped."""
    try:
        nodes = [node for node in yaml.compose_all(text, yaml.SafeLoader) if node is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise InvalidArgument(f"{where}{line}: not YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{where}: not YAML: {error}") from error
    found = [_Document(where).manifest(node) for node in nodes if not _is_null(node)]
    if not found:
        raise InvalidArgument(f"{where}: there is no document in it", hint="write metadata.name and spec")
    return found


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.tag.endswith(":null")


class _Document:
    """Walks one document; every getter knows the path and line for its complaint."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._warnings: list[str] = []

    def manifest(self, node: Node) -> Manifest:
        top = self._mapping(node, "the document")
        self._known(top, "", ("metadata", "spec", "apiVersion", "kind"), node)
        if "metadata" not in top:
            raise self._wrong(node, "metadata.name is missing")
        metadata = self._mapping(top["metadata"], "metadata")
        if "name" not in metadata:
            raise self._wrong(top["metadata"], "metadata.name is missing")
        name = self._text(metadata["name"], "metadata.name")
        spec_node = top.get("spec")
        spec = self._mapping(spec_node, "spec") if spec_node is not None and not _is_null(spec_node) else {}
        found = self._spec(spec, spec_node or node)
        try:
            check_app_name(name)
            check_schemas(found)
        except InvalidArgument as error:
            raise InvalidArgument(
                f"{self._where}:{node.start_mark.line + 1}: {error.message}", hint=error.hint
            ) from error
        if found.working_directory and not found.working_directory.startswith("/"):
            raise self._wrong(
                spec["working_directory"], f"spec.working_directory must be absolute, found {found.working_directory!r}"
            )
        return Manifest(name, found, tuple(self._warnings))

    def _spec(self, spec: Mapping[str, Node], node: Node) -> AppSpec:
        known = (*TEXTS, "shim", "labels", "arguments", "environments", "max_instances", "delay_release", "schema")
        self._known(spec, "spec.", known, node)
        given = {key: value for key, value in spec.items() if not _is_null(value)}
        default = AppSpec()
        schema = self._mapping(given["schema"], "spec.schema") if "schema" in given else {}
        self._known(schema, "spec.schema.", ("input", "output", "common_data"), node)

        def maybe(key: str, read: Callable[[Node, str], object], otherwise: object) -> object:
            return read(given[key], f"spec.{key}") if key in given else otherwise

        texts = {key: self._text(given[key], f"spec.{key}") for key in TEXTS if key in given}
        schemas = {
            f"schema_{key}": self._text(value, f"spec.schema.{key}")
            for key, value in schema.items()
            if not _is_null(value)
        }
        return AppSpec(
            **texts,
            **{key: text for key, text in schemas.items() if key in AppSpec.__struct_fields__},
            shim=maybe("shim", self._shim, 0),  # type: ignore[arg-type]
            labels=maybe("labels", self._texts, ()),  # type: ignore[arg-type]
            arguments=maybe("arguments", self._texts, ()),  # type: ignore[arg-type]
            environments=maybe("environments", self._text_map, {}),  # type: ignore[arg-type]
            max_instances=maybe("max_instances", self._count, default.max_instances),  # type: ignore[arg-type]
            delay_release=float(maybe("delay_release", self._count, default.delay_release)),  # type: ignore[arg-type]
        )

    # -- getters --------------------------------------------------------------------------------------------------

    def _mapping(self, node: Node, path: str) -> dict[str, Node]:
        if not isinstance(node, MappingNode):
            raise self._expected(node, path, "a mapping")
        found: dict[str, Node] = {}
        for key, value in node.value:
            name = self._text(key, f"a key of {path}")
            if name in found:
                raise self._wrong(key, f"{path} has {name!r} twice")
            found[name] = value
        return found

    def _text(self, node: Node, path: str) -> str:
        if not isinstance(node, ScalarNode) or node.tag != "tag:yaml.org,2002:str":
            raise self._expected(node, path, "a text")
        return str(node.value)

    def _texts(self, node: Node, path: str) -> tuple[str, ...]:
        if not isinstance(node, SequenceNode):
            raise self._expected(node, path, "a list of texts")
        return tuple(self._text(part, f"{path}[{index}]") for index, part in enumerate(node.value))

    def _text_map(self, node: Node, path: str) -> dict[str, str]:
        return {key: self._text(value, f"{path}.{key}") for key, value in self._mapping(node, path).items()}

    def _count(self, node: Node, path: str) -> int:
        try:
            number = int(node.value) if isinstance(node, ScalarNode) and node.tag.endswith(":int") else -1
        except ValueError:
            number = -1
        if number < 0:
            raise self._expected(node, path, "a whole number, 0 or more")
        return number

    def _shim(self, node: Node, path: str) -> int:
        name = self._text(node, path)
        if name not in SHIMS:
            raise self._wrong(node, f"{path}: unknown shim {name!r}; known: Host, Wasm")
        return SHIMS[name]

    # -- complaints -----------------------------------------------------------------------------------------------

    def _known(self, found: Mapping[str, Node], path: str, known: tuple[str, ...], node: Node) -> None:
        for key, value in found.items():
            if key not in known:
                line = value.start_mark.line + 1
                self._warnings.append(
                    f"{self._where}:{line}: {path}{key} is not known and was ignored; known: {', '.join(known)}"
                )

    def _expected(self, node: Node, path: str, what: str) -> InvalidArgument:
        if isinstance(node, ScalarNode):
            kind = _KINDS.get(node.tag.rpartition(":")[2], "something else")
            found = kind if kind == "nothing" else f"{kind} ({str(node.value)[:40]!r})"
        else:
            found = "a list" if isinstance(node, SequenceNode) else "a mapping"
        return self._wrong(node, f"{path} must be {what}, found {found}")

    def _wrong(self, node: Node, text: str) -> InvalidArgument:
        return InvalidArgument(f"{self._where}:{node.start_mark.line + 1}: {text}")
