"""Build the Rust service, register it like any program, run tasks on it."""

import shutil
import subprocess
import sys
from pathlib import Path

import flame

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "target" / "debug" / "wordlen"
TEXTS = ["one", "two words", "and these are five words", ""]

if shutil.which("cargo") is None:
    sys.exit("skipped: there is no Rust toolchain here")
build = ["cargo", "build", "--locked", "--quiet", "--bin", "wordlen", "--target-dir", str(HERE / "target")]
built = subprocess.run(build, cwd=HERE, capture_output=True, text=True)
if built.returncode:
    sys.exit(f"skipped: the Rust service cannot be built here: {built.stderr.strip().splitlines()[0]}")

with flame.connect() as client:
    client.register("wordlen", flame.AppSpec(command=str(PROGRAM), description="counts words, in Rust"))
    with client.session("wordlen") as session:
        counts = [int(output) for output in session.map(text.encode() for text in TEXTS)]
print(counts)
assert counts == [len(text.split()) for text in TEXTS]
