"""`make fuzz`: every target for SECONDS with coverage to guide it (atheris), or one of them: `python -m fuzz frames 60`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path


def one(name: str, seconds: int) -> None:
    """In a process of its own: libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=["flame"]):
        from fuzz.targets import TARGETS
    target, seeds = TARGETS[name]
    corpus = Path(tempfile.mkdtemp(prefix=f"fuzz-{name}-"))
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup(
        [
            sys.argv[0],
            str(corpus),
            f"-artifact_prefix={corpus}/",
            f"-max_total_time={seconds}",
            "-max_len=4096",
            "-timeout=10",
            "-verbosity=0",
        ],
        target,
    )
    atheris.Fuzz()


def main() -> int:
    words = sys.argv[1:]
    if len(words) == 2:  # before anything is imported: what is imported later is measured
        one(words[0], int(words[1]))
        return 0
    from fuzz.targets import TARGETS

    seconds = words[0] if words else "60"
    failed = []
    for name in TARGETS:
        print(f"fuzz: {name} for {seconds} s", flush=True)
        if subprocess.run([sys.executable, "-m", "fuzz", name, seconds], check=False).returncode:
            failed.append(name)
    print(f"fuzz: {len(TARGETS)} targets, failed: {', '.join(failed) or 'none'}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
