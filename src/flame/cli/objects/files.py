"""`-f`: documents of files, directories and the standard input, all of them checked before any is used."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flame.core.base.errors import FlameError, InvalidArgument
from flame.core.objects.kinds import Kind
from flame.wire.manifests import Document, checked, read

SUFFIXES = (".yaml", ".yml", ".json")
STDIN = "stdin"


def documents(files: Sequence[str], recursive: bool = False) -> list[Document]:
    """Raises InvalidArgument where a file is missing, is no YAML, or nothing is in any of them."""
    if not files:
        raise InvalidArgument("which files?", hint="-f FILE, -f DIR, or -f - for the standard input")
    found = [document for name in files for document in _of(name, recursive)]
    if not found:
        raise InvalidArgument(f"there are no objects in {', '.join(files)}")
    return found


def _of(name: str, recursive: bool) -> Iterator[Document]:
    if name == "-":
        yield from read(sys.stdin.read(), STDIN)
        return
    path = Path(name)
    if path.is_dir():
        below = sorted(path.rglob("*") if recursive else path.iterdir())
        for file in (file for file in below if file.is_file() and file.suffix in SUFFIXES):
            yield from read(_text(file), str(file))
    else:
        yield from read(_text(path), name)


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path} is no text") from None
    except OSError as error:
        raise InvalidArgument(f"{path}: {(error.strerror or str(error)).lower()}") from None


def bodies(files: Sequence[str], recursive: bool = False) -> list[tuple[Kind, dict[str, Any]]]:
    """Legal objects, namespaces first. Raises InvalidArgument with the problems of all documents, each as `file:line: path: what`."""
    found: list[tuple[Kind, dict[str, Any]]] = []
    errors: list[FlameError] = []
    for document in documents(files, recursive):
        try:
            kind, body = checked(document)
            found.append((kind, dict(body)))
        except FlameError as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        hint = next((error.hint for error in errors if error.hint), "")
        raise InvalidArgument("\n".join(error.message for error in errors), hint=hint)
    return sorted(found, key=lambda item: item[0].name != "Namespace")
