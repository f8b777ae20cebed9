"""What the argparse commands share: number types and completion scripts."""

from __future__ import annotations

import argparse


def whole(text: str) -> int:
    """A whole number, 0 or more."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be a whole number, 0 or more, found {text!r}")
    return number


def byte(text: str) -> int:
    """A byte value."""
    number = whole(text)
    if number > 255:
        raise argparse.ArgumentTypeError(f"must be 0 to 255, found {text!r}")
    return number


def completion(parser: argparse.ArgumentParser, shell: str) -> str:
    """A script that completes the options of a command without subcommands."""
    options = [option for action in parser._actions for option in action.option_strings]
    words = " ".join(options)
    if shell == "bash":
        return f'complete -W "{words}" {parser.prog}'
    if shell == "zsh":
        return f"#compdef {parser.prog}\ncompdef '_arguments \"*: :({words})\"' {parser.prog}"
    lines = [f"complete -c {parser.prog} -f"]
    for action in parser._actions:
        longs = [o[2:] for o in action.option_strings if o.startswith("--")]
        shorts = [o[1:] for o in action.option_strings if not o.startswith("--")]
        flags = "".join(f" -l {name}" for name in longs) + "".join(f" -s {name}" for name in shorts)
        about = (action.help or "").replace("'", "")
        lines.append(f"complete -c {parser.prog}{flags} -d '{about}'")
    return "\n".join(lines)
