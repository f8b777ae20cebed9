"""What every command does around its work: errors to stderr and exit codes, Ctrl-C, a closed pipe."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from flame.cli.output import fail
from flame.core.base.errors import FlameError

INTERRUPTED = 130


def guard(work: Callable[[], int | None], code: Callable[[FlameError], int] = lambda error: 1) -> int:
    """Run a command. `code` gives the exit code of an error: 1 for the `flm*` commands, from the table for `flame`."""
    try:
        done = work() or 0
        sys.stdout.flush()
        return done
    except FlameError as error:
        return fail(error, code(error))
    except KeyboardInterrupt:
        sys.stderr.write("\n")
        return INTERRUPTED
    except BrokenPipeError:  # `flmctl list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        found = FlameError(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
        return fail(found, code(found))
