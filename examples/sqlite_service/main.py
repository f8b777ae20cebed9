"""A thousand look-ups; the database itself counts how often it was opened."""

import sqlite3
import sys
import tempfile
from pathlib import Path

import flame

TASKS = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
CAPITALS = {"France": "Paris", "Japan": "Tokyo", "Kenya": "Nairobi", "Chile": "Santiago", "Norway": "Oslo"}

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "capitals.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE capitals (country TEXT PRIMARY KEY, capital TEXT)")
        database.execute("CREATE TABLE opened (pid INTEGER)")
        database.executemany("INSERT INTO capitals VALUES (?, ?)", CAPITALS.items())

    with flame.connect() as client:
        client.register("lookup", service="service:Lookup", path=Path(__file__).parent)
        with client.session("lookup", common_data=str(path).encode()) as session:
            countries = [list(CAPITALS)[n % len(CAPITALS)] for n in range(TASKS)]
            answers = [answer.decode() for answer in session.map(country.encode() for country in countries)]
    assert answers == [CAPITALS[country] for country in countries]

    pids = [pid for (pid,) in database.execute("SELECT pid FROM opened")]
    assert len(pids) == len(set(pids)), "an executor opened the database twice"
    print(f"{TASKS} tasks, {len(pids)} executors, {len(pids)} connections")
    database.close()
