"""What is wrong with a document, all of it in one error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from flame.core.base.errors import InvalidArgument
from flame.core.objects.paths import nearest

MOST = 20
"""Problems that one error lists; the rest is counted."""


class Problem(NamedTuple):
    """`path`: where, empty for the document itself; `line`: where known better than by the path (text inside a text)."""

    path: str
    message: str
    hint: str = ""
    line: int = 0


def closest(word: str, known: Iterable[str]) -> str:
    """The known word that was probably meant; empty when none is near. Case does not count."""
    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""


def unknown(path: str, what: str, word: str, known: Sequence[str]) -> Problem:
    """A word that nobody knows, with the one that was probably meant and those that are known."""
    near = closest(word, known)
    shown = ", ".join(sorted(known)[:24]) + (", ..." if len(known) > 24 else "")
    hint = f"did you mean {near}?" if near else (f"known: {shown}" if known else "nothing may be given here")
    return Problem(path, f"unknown {what} {word[:80]!r}", hint)


def located(problem: Problem, file: str = "", lines: Mapping[str, int] | None = None) -> str:
    """`file:line: path: what is wrong (hint)`, as far as it is known."""
    line = problem.line or nearest(problem.path, lines or {})
    place = f"{file}:{line}: " if file and line else f"{file}: " if file else f"line {line}: " if line else ""
    path = f"{problem.path}: " if problem.path else ""
    hint = f" ({problem.hint})" if problem.hint else ""
    return f"{place}{path}{problem.message}{hint}"


def invalid(
    problems: Sequence[Problem], what: str = "", file: str = "", lines: Mapping[str, int] | None = None
) -> InvalidArgument:
    """One error for all of them. what: of which object, as `FlameWorkload default/train`."""
    texts = [located(problem, file, lines) for problem in problems[:MOST]]
    if len(problems) > MOST:
        texts.append(f"and {len(problems) - MOST} more")
    about, between = (f"{what} is not valid: ", "\n  ") if what else ("", "\n")
    hint = next((problem.hint for problem in problems if problem.hint), "")
    return InvalidArgument(
        about + (texts[0] if len(texts) == 1 else (between if what else "") + between.join(texts)), hint=hint
    )
