"""Build the Go service, register it like any program, run tasks on it."""

import shutil
import subprocess
import sys
from pathlib import Path

import flame

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "bin" / "wordlen"
TEXTS = ["one", "two words", "and these are five words", ""]

if shutil.which("go") is None:
    sys.exit("skipped: there is no Go toolchain here")
built = subprocess.run(["go", "build", "-o", str(PROGRAM), "."], cwd=HERE, capture_output=True, text=True)
if built.returncode:
    sys.exit(f"skipped: the Go service cannot be built here: {built.stderr.strip().splitlines()[-1]}")

with flame.connect() as client:
    client.register("wordlen", flame.AppSpec(command=str(PROGRAM), description="counts words, in Go"))
    with client.session("wordlen") as session:
        counts = [int(output) for output in session.map(text.encode() for text in TEXTS)]
print(counts)
assert counts == [len(text.split()) for text in TEXTS]
