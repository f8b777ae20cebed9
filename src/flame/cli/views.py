"""`flmctl view`: one object, for people."""

from __future__ import annotations

import json
from typing import Any

from flame.cli import records
from flame.cli.output import fine_clock, labelled, write
from flame.core.base.quantity import format_size

Record = dict[str, Any]


def say_session(record: Record) -> None:
    counts = f"{record['pending']} pending, {record['running']} running, {record['succeed']} succeed, {record['failed']} failed"
    if record["cancelled"]:
        counts += f", {record['cancelled']} cancelled"
    rows = [
        ("Session:", record["id"]),
        ("Application:", record["application"]),
        ("State:", record["state"]),
        ("Resources:", records.resources_text(record["resources"])),
        ("Creation Time:", fine_clock(record["creation_time"])[:8]),
        ("Tasks:", counts),
        ("Alias:", str(record["alias"])),
    ]
    width = max(len(label) for label, _ in rows)
    for label, value in rows:
        write(f" {label:<{width}}  {value}")
    say_events(record["events"])


def say_task(record: Record, application: str) -> None:
    pairs = [
        ("Task", record["id"]),
        ("Session", record["ssn_id"]),
        ("Application", application),
        ("State", record["state"]),
        ("Attempt", str(record["attempt"])),
    ]
    write(labelled(pairs))
    say_events(record["events"])


def say_events(events: list[Record]) -> None:
    write("Events:")
    for event in events:
        write(f"  {fine_clock(event['creation_time'])}: {event['message']} ({event['code']})")


def say_app(record: Record) -> None:
    lines = [("Name", record["name"])]
    for label, key in (("Description", "description"), ("Shim", "shim"), ("Image", "image"), ("URL", "url")):
        lines.append((label, record[key] or "-"))
    lines += [
        ("Installer", record["installer"] or "-"),
        ("Labels", _lines(record["labels"])),
        ("Command", record["command"] or "-"),
        ("Arguments", _lines(record["arguments"])),
        ("Environments", _lines([f"{name}: {value}" for name, value in record["environments"].items()])),
        ("WorkingDir", record["working_directory"] or "-"),
        ("Max Instances", str(record["max_instances"])),
        ("Delay Release", records.duration(record["delay_release"])),
    ]
    kinds = [(label, schema_type(record["schema"][key])) for label, key in SCHEMAS]
    lines.append(("Schema", _lines([f"{label}: {kind}" for label, kind in kinds])))
    write(labelled(lines))


SCHEMAS = (("Input", "input"), ("Output", "output"), ("Common Data", "common_data"))


def schema_type(text: str | None) -> str:
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return "-"
    kind = found.get("type", "-") if isinstance(found, dict) else "-"
    return ", ".join(kind) if isinstance(kind, list) else str(kind)


def _lines(values: list[str]) -> str:
    return "\n".join(["", *values]) if values else "-"


def say_node(record: Record) -> None:
    write(
        labelled(
            [
                ("Name", record["name"]),
                ("Hostname", record["name"]),
                ("Status", record["state"]),
                (
                    "Capacity",
                    _lines(
                        [
                            f"CPU: {records.cpus(record['capacity'])}",
                            f"Memory: {format_size(record['capacity'].get('memory', 0))}",
                        ]
                    ),
                ),
                ("Info", _lines([f"Arch: {record['arch']}", f"OS: {record['os']}"])),
            ]
        )
    )
