"""Count words: one task a file, the sums here. Without a folder, the texts and sources of Python's own standard library."""

import re
import sys
import sysconfig
from collections import Counter
from pathlib import Path

import flame

FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(sysconfig.get_path("stdlib"))


@flame.task
def count(path: Path) -> Counter[str]:
    return Counter(re.findall(r"[a-z]{4,}", path.read_text(errors="ignore").lower()))


files = sorted(path for path in FOLDER.glob("*") if path.suffix in (".txt", ".py", ".md") and path.is_file())
total: Counter[str] = Counter()
for found in count.map(files):
    total.update(found)

print(f"{len(files)} files, {total.total():,} words, {len(total):,} different")
for word, times in total.most_common(5):
    print(f"{times:>8,}  {word}")
