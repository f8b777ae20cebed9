"""flmctl against a running cluster: people's voice and programs' voice."""

from __future__ import annotations

import json
import re

import pytest

APP = """
metadata: {name: %s}
spec:
  command: /bin/cat
  description: a test
  labels: [one, two]
  arguments: [-u]
  environments: {MODE: test}
  delay_release: 65
  schema: {input: '{"type": "string"}'}
"""


def created(shell, *words: str) -> str:
    ran = shell("flmctl", "create", "-a", "flmping", *words)
    found = re.fullmatch(r"Session <(\S+)> was created\.\n", ran.out)
    assert found, ran
    return found[1]


def read(shell, *words: object):
    ran = shell("flmctl", *words, "-o", "json")
    assert ran.code == 0, ran
    return json.loads(ran.out)


@pytest.mark.ledger("A-01", "A-05", "A-66")
def test_a_session_by_commands_only(shell):
    id = created(shell, "-p", "10", "-r", "cpu=2,mem=1g")
    assert re.fullmatch(r"flmping-[0-9A-Za-z]{6}", id)
    record = read(shell, "view", "-s", id)
    assert (record["application"], record["state"], record["priority"], record["slots"]) == ("flmping", "Open", 10, 2)
    assert (record["tasks"], record["events"]) == ([], [])
    for name in (id, str(record["alias"])):
        viewed = shell("flmctl", "view", "-s", name).out
        assert re.search(rf"Session:\s+{id}\n", viewed)
        assert re.search(r"Tasks:\s+0 pending, 0 running, 0 succeed, 0 failed\n", viewed)
    assert read(shell, "list", "-s", str(record["alias"]))[0]["id"] == id
    assert shell("flmctl", "open", "-s", id).out == f"Session <{id}> was opened.\n"
    busy = shell("flmctl", "delete", "-s", id)
    assert busy.code == 1
    assert "open" in busy.err
    assert shell("flmctl", "close", "-s", id).out == f"Session <{id}> was closed.\n"
    assert shell("flmctl", "close", "-s", id).code == 0
    closed = shell("flmctl", "open", "-s", id)
    assert (closed.code, "not open" in closed.err) == (1, True)
    assert shell("flmctl", "delete", "-s", id).out == f"Session <{id}> was deleted.\n"
    gone = shell("flmctl", "view", "-s", id)
    assert (gone.code, "not found" in gone.err) == (1, True)


def test_a_session_may_bring_its_id_and_open_makes_what_is_not_there(shell):
    assert created(shell, "-s", "my-own") == "my-own"
    assert "already exists" in shell("flmctl", "create", "-a", "flmping", "-s", "my-own").err
    assert shell("flmctl", "open", "-s", "made", "-a", "flmping").code == 0
    differs = shell("flmctl", "open", "-s", "made", "-a", "flmping", "-p", "4")
    assert (differs.code, "priority" in differs.err) == (1, True)
    for id in ("my-own", "made"):
        shell("flmctl", "close", "-s", id)


@pytest.mark.ledger("A-37", "A-38", "A-62", "A-63")
def test_lists_have_the_published_headers(shell):
    id = created(shell, "-p", "7")
    plain = shell("flmctl", "list").out.splitlines()
    assert plain[0].split() == ["ID", "State", "App", "Slots", "Pending", "Running", "Succeed", "Failed", "Created"]
    assert re.match(
        r"ID +State     App            Slots     Pending   Running   Succeed   Failed    Created$", plain[0]
    )
    assert any(line.startswith(id) for line in plain)
    listed = shell("flmctl", "list", "-s").out.splitlines()
    assert listed[0].split() == [
        "ID",
        "State",
        "App",
        "Slots",
        "Priority",
        "Pending",
        "Running",
        "Succeed",
        "Failed",
        "Created",
    ]
    (row,) = [line for line in listed if id in line]
    assert row.split()[:5] == [id, "Open", "flmping", "1", "7"]
    assert re.fullmatch(r"\d\d:\d\d:\d\d", row.split()[-1])
    assert id in shell("flmctl", "list", "-s", "-o", "name").out.split()
    assert "Resources" in shell("flmctl", "list", "-s", "-o", "wide").out
    shell("flmctl", "close", "-s", id)


@pytest.mark.ledger("A-67")
def test_nodes_executors_and_applications_are_listed(shell):
    said = shell("flmctl", "list", "-n", "-e", "-a").out
    assert " Name     State    Shim  Tags" in said
    assert re.search(r"^ ID +State +Session +Node$", said, re.MULTILINE)
    assert re.search(r"^ NAME +HOSTNAME +STATUS +CPU +MEMORY +ARCH +OS$", said, re.MULTILINE)
    together = read(shell, "list", "-n", "-e", "-a")
    assert sorted(together) == ["applications", "executors", "nodes"]
    assert [app["name"] for app in together["applications"]][:3] == ["flmexec", "flmping", "flmrun"]
    (node,) = read(shell, "list", "-n")
    assert node["state"] == "Ready"
    viewed = shell("flmctl", "view", "-n", node["name"]).out
    assert re.search(rf"Name: +{node['name']}\n", viewed)
    assert "Memory:" in viewed


@pytest.mark.ledger("A-64")
def test_view_without_an_object_prints_usage(shell):
    for words in ((), ("-t", "1"), ("-s", "x", "-a", "y")):
        ran = shell("flmctl", "view", *words)
        assert ran.code == 2
        assert "Usage:" in ran.err


def test_help_and_version(bare):
    assert bare("flmctl").code == 0
    assert "Manage sessions" in bare("flmctl").out
    assert bare("flmctl", "--version").out.startswith("flmctl 0.")
    assert bare("flmctl", "nonsense").code == 2


def test_applications_by_file(shell, tmp_path):
    file = tmp_path / "app.yaml"
    file.write_text(APP % "one-app" + "---" + APP % "two-app")
    assert shell("flmctl", "register", "-f", file) == (0, "", "")
    again = shell("flmctl", "register", "-f", file)
    assert (again.code, "already exists" in again.err) == (1, True)
    viewed = shell("flmctl", "view", "-a", "one-app").out
    for line in ("Name:          one-app", "Shim:          Host", "Command:       /bin/cat", "Delay Release: 1m 5s"):
        assert line in viewed, viewed
    assert "\tMODE: test" in viewed
    assert "\tInput: string" in viewed
    assert "\tOutput: -" in viewed
    file.write_text((APP % "one-app").replace("/bin/cat", "/bin/true"))
    assert shell("flmctl", "update", "-a", file).code == 0
    assert read(shell, "view", "-a", "one-app")["command"] == "/bin/true"
    session = shell("flmctl", "create", "-a", "one-app").out.split("<")[1].split(">")[0]
    busy = shell("flmctl", "unregister", "-a", "one-app")
    assert (busy.code, "open session" in busy.err) == (1, True)
    shell("flmctl", "close", "-s", session)
    for name in ("one-app", "two-app"):
        assert shell("flmctl", "unregister", "-a", name).code == 0
    assert shell("flmctl", "unregister", "-a", "one-app").code == 1


def test_mistakes_in_a_file_name_the_line_and_register_nothing(shell, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(
        "metadata: {name: fine}\nspec: {command: a}\n---\nmetadata: {name: bad}\nspec:\n  max_instances: many\n"
    )
    ran = shell("flmctl", "register", "-f", file)
    assert ran.code == 1
    assert f"{file}:6: spec.max_instances must be a whole number" in ran.err
    assert "fine" not in [app["name"] for app in read(shell, "list", "-a")]
    file.write_text('metadata: {name: bad}\nspec: {schema: {input: "{"}}\n')
    assert "invalid input schema" in shell("flmctl", "register", "-f", file).err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("create", "-a", "nope"), "not found"),
        (("create", "-a", "flmping", "-s", "../x"), "invalid session id"),
        (("create", "-a", "flmping", "-r", "cpus=1"), "unknown key"),
        (("create", "-a", "flmrun"), "Runner"),
        (("close", "-s", "nope"), "not found"),
        (("register", "-f", "/nowhere.yaml"), "no file"),
        (("view", "-a", "nope"), "not found"),
        (("view", "-n", "nope"), "not found"),
        (("submit", "nope"), "neither a file nor an application"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_on_stderr(shell, words, text):
    ran = shell("flmctl", *words)
    assert (ran.code, ran.out) == (1, "")
    assert text in ran.err
    assert ran.err.startswith("Error: ")
    assert "Traceback" not in ran.err


@pytest.mark.ledger("A-65")
def test_submit_waits_and_exits_with_the_result(shell, tmp_path):
    good = json.dumps({"language": "shell", "code": "echo out"})
    bad = json.dumps({"language": "klingon", "code": "x"})
    ran = shell("flmctl", "submit", "flmexec", "--task-input", good, "--wait")
    assert ran.code == 0
    assert re.search(r" 1 +Succeed +\{\"data\"", ran.out)
    ran = shell("flmctl", "submit", "flmexec", "--task-input", good, "--task-input", bad, "--wait", "-o", "json")
    assert ran.code == 1
    said = json.loads(ran.out)
    assert [task["state"] for task in said["tasks"]] == ["Succeed", "Failed"]
    assert "klingon" in said["tasks"][1]["output"]
    assert read(shell, "view", "-s", said["session"])["state"] == "Closed"


@pytest.mark.ledger("A-65")
def test_submit_registers_a_file_once_and_refuses_another_specification(shell, tmp_path):
    file = tmp_path / "app.yaml"
    file.write_text("metadata: {name: submitted}\nspec: {command: /bin/cat}\n")
    assert shell("flmctl", "submit", file).code == 0
    session = json.loads(shell("flmctl", "submit", file, "-o", "json").out)["session"]
    assert [task["id"] for task in read(shell, "view", "-s", session)["tasks"]] == ["1"]
    file.write_text("metadata: {name: submitted}\nspec: {command: /bin/tac}\n")
    other = shell("flmctl", "submit", file)
    assert (other.code, "another specification" in other.err) == (1, True)


@pytest.mark.ledger("A-09", "A-12")
def test_a_task_is_shown_with_its_events(shell):
    bad = json.dumps({"language": "klingon", "code": "x"})
    session = json.loads(shell("flmctl", "submit", "flmexec", "-i", bad, "--wait", "-o", "json").out)["session"]
    viewed = shell("flmctl", "view", "-s", session, "-t", "1").out
    assert re.search(rf"Task: +1\nSession: +{session}\nApplication: +flmexec\nState: +Failed\n", viewed)
    assert re.search(r"  \d\d:\d\d:\d\d\.\d{3}: .*klingon.* \(3\)\n", viewed)
    assert shell("flmctl", "view", "-s", session, "-t", "2").code == 1


@pytest.mark.ledger("A-83")
def test_flmexec_prints_what_scripts_print(shell):
    ran = shell("flmexec", "-t", "10", "-c", "echo hi")
    assert ran.code == 0, ran
    for no in range(1, 11):
        assert f"Task {no:<10}: hi\n" in ran.out
    assert re.search(r"<10> tasks was completed in <[\d,]+ ms>\.\n$", ran.out)
    assert "Task 1         : [104, 105, 10]" in shell("flmexec", "-t", "1", "-c", "echo hi", "--raw").out
    assert "Task 1         : AB" in shell("flmexec", "-t", "1", "-c", "cat", "-i", "65", "-i", "66").out
    python = shell("flmexec", "-t", "1", "-l", "python", "-c", "import sys; print(sys.version_info.major)")
    assert "Task 1         : 3" in python.out
    failed = shell("flmexec", "-t", "1", "-c", "x", "-r", "pwsh")
    assert (failed.code, "unknown shell" in failed.err) == (1, True)
    assert shell("flmexec").code == 2


def test_deploy_packs_registers_and_tells(shell, tmp_path):
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    plan = shell("flmctl", "deploy", "--name", "tool", "--application", program, "--dry-run")
    assert plan.out.startswith(
        "Application <tool> deploy plan.\nInput Kind: executable-file\nInstaller: binary\nCommand: tool\n"
    )
    assert plan.out.endswith("Dry Run: true\n")
    said = json.loads(
        shell("flmctl", "deploy", "--name", "tool", "--application", program, "--label", "x", "-o", "json").out
    )
    assert said["url"].startswith("file:///")
    assert said["application"]["spec"]["labels"] == ["x"]
    assert read(shell, "view", "-a", "tool")["url"] == said["url"]
    assert shell("flmctl", "deploy", "--name", "tool", "--application", program).code == 1
    text = shell("flmctl", "deploy", "--name", "t2", "--application", program, "--dry-run", "-o", "yaml").out
    assert text.startswith("metadata:\n  name: t2\n")
