"""The exact prints of the published documents."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import time

import pytest
from cli.conftest import BIN

from flame.cli.flmping import Pinged, later, parser, request, say, seconds, text_of

HEADER = (
    r"Session <(flmping-[0-9A-Za-z]{6})> was created in <[\d,]+ ms>, start to run <([\d,]+)> tasks in the session:\n\n"
)


@pytest.mark.ledger("A-04", "A-06", "A-10", "A-11", "A-52")
def test_ten_tasks_a_table_and_the_time(shell):
    ran = shell("flmping")
    found = re.fullmatch(HEADER + r"((?: .*\n){11})\n\n<10> tasks was completed in <[\d,]+ ms>\.\n", ran.out)
    assert found, ran
    head, *rows = found[3].splitlines()
    assert head == " Session         Task  State    Output"
    for no, row in enumerate(rows, 1):
        line = rf" {found[1]}  {no:<4}  Succeed  Completed on <\S+> in <\d+> milliseconds with <\d+> memory"
        assert re.fullmatch(line, row), row
    assert "\x1b" not in ran.out
    assert "\r" not in ran.out


@pytest.mark.ledger("A-54", "A-55", "A-57")
def test_perf_prints_the_block_and_no_rows(shell):
    ran = shell("flmping", "-p", "-t", "3000")
    rule = "=" * 60
    block = (
        rf"{rule}\nBENCHMARK RESULTS\n{rule}\nDuration:        ([\d.]+)s\nSucceeded:       3000/3000\n"
        rf"Failed:          0\nThroughput:      ([\d.]+) tasks/sec\n{rule}\n"
    )
    found = re.fullmatch(HEADER + block, ran.out)
    assert found, ran
    assert found[2] == "3,000"
    assert float(found[4]) == pytest.approx(3000 / float(found[3]), rel=0.01)


@pytest.mark.ledger("A-20", "A-53")
def test_json_tells_everything(shell):
    ran = shell("flmping", "-t", "25", "-d", "1", "-m", "2k", "-P", "3", "-c", "x", "-o", "json")
    said = json.loads(ran.out)
    assert (said["tasks"], said["succeeded"], said["failed"], len(said["results"])) == (25, 25, 0, 25)
    assert "<2048> memory" in said["results"][0]["output"]
    assert said["first_task_ms"] >= 1
    viewed = json.loads(shell("flmctl", "view", "-s", said["session"], "-o", "json").out)
    assert (viewed["priority"], viewed["common_data"], viewed["state"]) == (3, '{"value": "x"}', "Closed")


def test_first_and_later_tasks_are_told_when_asked(shell):
    assert re.search(r"First task: [\d.,]+ ms, later tasks: [\d.,]+ ms each\.", shell("flmping", "-v").out)


@pytest.mark.ledger("A-56")
def test_the_bar_reaches_the_end_on_a_terminal(shell, bare):
    leader, follower = pty.openpty()
    env = dict(os.environ) | {"COLUMNS": "120"}
    endpoint = json.loads(shell("flame", "status", "-o", "json").out)["endpoint"]
    child = subprocess.Popen([str(BIN / "flmping"), "-t", "50", "--endpoint", endpoint], stdout=follower, env=env)
    os.close(follower)
    seen, deadline = b"", time.monotonic() + 30
    while b"completed in" not in seen and time.monotonic() < deadline:
        try:
            seen += os.read(leader, 65536)
        except OSError:
            break
    child.wait(10)
    os.close(leader)
    assert b"[100%] " + b"=" * 45 + b"      50/50" in seen


def test_no_tasks_is_a_result_too(shell):
    assert "<0> tasks was completed in" in shell("flmping", "-t", "0").out


@pytest.mark.parametrize("words", [("-t", "x"), ("-t", "-1"), ("-d", "soon"), ("--nope",)])
def test_wrong_arguments_exit_with_2(bare, words):
    ran = bare("flmping", *words)
    assert ran.code == 2
    assert "usage: flmping" in ran.err


@pytest.mark.parametrize(("words", "text"), [(("-m", "lots"), "not a size"), (("-r", "cpu"), "resources 'cpu'")])
def test_wrong_sizes_are_one_sentence_and_a_hint(shell, words, text):
    ran = shell("flmping", *words)
    assert ran.code == 1
    assert text in ran.err
    assert "Hint: " in ran.err
    assert "Traceback" not in ran.err


def test_an_endpoint_where_nobody_is_is_an_error(bare):
    ran = bare("flmping", "--endpoint", "unix:///tmp/nobody-here.sock")
    assert ran.code == 1
    assert ran.err.startswith("Error: ")


def test_numbers_print_with_separators(capsys):
    outcome = [(1, "Failed", "code <3>: no")]
    found = Pinged("s", 1.6, 1.603, 0.1, outcome, 9_999, 1)
    say(parser().parse_args([]), found)
    said = capsys.readouterr().out
    assert "<10,000> tasks was completed in <1,603 ms>." in said
    assert "code <3>: no" in said
    assert later(found) == pytest.approx(1.503 / 9999)


def test_durations_keep_three_digits():
    assert [seconds(v) for v in (3.288, 1.0, 0.09554, 0.0005)] == ["3.29s", "1.00s", "0.0955s", "0.000500s"]


def test_small_parts():
    assert request(None, None) is None
    assert json.loads(request(5, None) or b"") == {"duration": 5, "memory": None}
    assert text_of(b"\xff") == "\ufffd"


@pytest.mark.parametrize("shell_name", ["bash", "zsh", "fish"])
@pytest.mark.parametrize("command", ["flmping", "flmexec", "flmctl", "flame"])
def test_every_command_completes_in_every_shell(bare, command, shell_name):
    words = ["--completion", shell_name] if command in ("flmping", "flmexec") else ["completion", shell_name]
    ran = bare(command, *words)
    assert ran.code == 0
    assert command in ran.out
