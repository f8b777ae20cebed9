"""`flmadm install` and its family: prefixes of their own, by somebody who is not root in spirit (no systemd here), without a network."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest
from cli.conftest import BIN, runner

from flame.cli import services
from flame.cli.prefix import Wanted
from flame.ops.paths import RunFile
from flame.testing.cluster import eventually

ROOT = Path(__file__).parents[2]


@pytest.fixture
def home():
    """A short path: sockets lie below it."""
    path = Path(tempfile.mkdtemp(prefix="flame-inst-"))
    yield path
    for prefix in path.iterdir():
        if (prefix / "conf" / "install.json").exists():
            runner(path)(BIN / "flmadm", "uninstall", "--prefix", prefix, "--force", "--no-backup")
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def run(home):
    return runner(home)


def install(run, prefix: Path, *words: object):
    return run(BIN / "flmadm", "install", "--prefix", prefix, "--no-systemd", *words)


def inside(run, prefix: Path, *words: str):
    """As a user who sourced flmenv.sh."""
    return run("bash", "-c", f"source {prefix}/sbin/flmenv.sh && " + " ".join(words))


def run_file(path: Path) -> RunFile:
    found = RunFile.read(path / "run.json")
    assert found is not None
    return found


@pytest.mark.ledger("A-69", "A-73", "A-74", "A-75", "A-77")
def test_all_from_a_checkout_starts_and_comes_back_after_a_kill(run, home):
    prefix = home / "flame"
    done = install(run, prefix, "--all", "--src-dir", ROOT, "--enable")
    assert done.code == 0, done
    where = inside(run, prefix, "command", "-v", "flmctl").out.strip()
    assert where == str(prefix / "bin" / "flmctl")
    site = next(prefix.glob("lib/python*/site-packages"))
    assert (site / "flame" / "__init__.py").exists()
    ping = inside(run, prefix, "flmping", "-t", "50")
    assert ping.code == 0, ping
    assert "<50> tasks was completed" in ping.out
    assert (prefix / "data").stat().st_mode & 0o777 == 0o700
    before = run_file(prefix / "data").pids
    os.kill(before["supervisor"], signal.SIGKILL)
    eventually(
        lambda: (
            (found := RunFile.read(prefix / "data" / "run.json"))
            and found.alive
            and found.pids["supervisor"] != before["supervisor"]
        ),
        30,
    )
    eventually(lambda: inside(run, prefix, "flmping", "-t", "10").code == 0, 30)
    status = run(BIN / "flmadm", "status", "--prefix", prefix, "-o", "json")
    assert status.code == 0
    assert json.loads(status.out)["services"] == [
        {"service": "flame-control-plane", "state": "running", "kept_by": "flmkeep"}
    ]
    gone = run(BIN / "flmadm", "uninstall", "--prefix", prefix, "--force", "--no-backup")
    assert gone.code == 0, gone
    assert not prefix.exists()


@pytest.mark.ledger("A-70", "A-71", "A-76")
def test_three_prefixes_form_one_cluster(run, home):
    head = home / "flame-head"
    assert install(run, head, "--control-plane", "--client", "--listen", "tls://127.0.0.1:0", "--enable").code == 0
    found = run_file(head / "data")
    assert "agent" not in found.pids, "a control plane alone runs no tasks"
    for number in (1, 2):
        made = inside(run, head, f"flame token create n{number} --role join --data-dir {head}/data")
        line = next(text for text in made.out.splitlines() if text.strip().startswith("flame agent join")).split()
        words = dict(zip(line[4::2], line[5::2], strict=True))
        worker = home / f"flame-w{number}"
        done = install(run, worker, "--worker", "--join", line[3], "--ca-hash", words["--ca-hash"], "--token", words["--token"],
                       "--name", f"n{number}", "--enable")  # fmt: skip
        assert done.code == 0, done
        assert words["--token"] not in "".join(p.read_text(errors="replace") for p in worker.rglob("*.json"))
        assert not (worker / "bin" / "flmctl").exists(), "a worker has no client commands"
    task = "flmexec -t 12 -l shell -c 'sleep 0.3; echo on $FLAME_NODE'"
    nodes = inside(run, head, f"flame node list --data-dir {head}/data -o json")
    assert {node["name"] for node in json.loads(nodes.out)} == {"n1", "n2"}
    said = inside(run, head, f"export FLAME_ENDPOINT={head}/data; {task}")
    assert said.code == 0, said
    assert {"n1", "n2"} == {word for line in said.out.splitlines() for word in ("n1", "n2") if f"on {word}" in line}, (
        said
    )


@pytest.mark.ledger("A-68")
@pytest.mark.parametrize(
    "words",
    [("install", "--all", "--enable"), ("uninstall", "--force"), ("config", "cluster.name", "x")],
)
def test_a_dry_run_changes_nothing(run, home, words):
    prefix = home / "flame"
    assert install(run, prefix, "--control-plane").code == 0
    before = {path: path.stat().st_mtime_ns for path in prefix.rglob("*")}
    done = run(BIN / "flmadm", *words, "--prefix", prefix, "--dry-run")
    assert (done.code, "would" in done.out) == (0, True), done
    assert {path: path.stat().st_mtime_ns for path in prefix.rglob("*")} == before


def test_configuration_is_read_and_changed_only_when_it_is_valid(run, home):
    prefix = home / "flame"
    install(run, prefix, "--control-plane")

    def config(*words: str):
        return run(BIN / "flmadm", "config", *words, "--prefix", prefix)

    assert config("cluster.name").out.strip() == "flame"
    assert config("cluster.cpus", "2").code == 0
    assert config("cluster.cpus").out.strip() == "2"
    wrong = config("cluster.durability", "hope")
    assert (wrong.code, "power" in wrong.err) == (3, True)
    assert "hope" not in config().out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 3, "nothing to install"),
        (("--all", "--worker"), 2, "no other profile"),
        (("--worker",), 3, "needs a control plane"),
        (("--cache",), 3, "not part of this release"),
        (("--client", "--enable"), 3, "has none"),
        (("--client", "--src-dir", "/tmp"), 3, "no checkout"),
    ],
)
def test_what_cannot_be_installed_says_why_and_leaves_nothing(run, home, words, code, text):
    done = install(run, home / "flame", *words)
    assert done.code == code, done
    assert text in done.err
    assert not (home / "flame").exists()


def test_uninstall_keeps_what_it_is_told_and_removes_nothing_that_is_not_ours(run, home):
    prefix = home / "flame"
    install(run, prefix, "--control-plane")
    (prefix / "data" / "mine").write_text("x")
    gone = run(
        BIN / "flmadm", "uninstall", "--prefix", prefix, "--force", "--preserve-data", "--backup-dir", home / "copy"
    )
    assert gone.code == 0, gone
    assert [path.name for path in prefix.iterdir()] == ["data"]
    assert (home / "copy" / "conf" / "install.json").exists()
    for odd in ("/usr", "/", str(home)):
        refused = run(BIN / "flmadm", "uninstall", "--prefix", odd, "--force")
        assert refused.code in (0, 3)
        assert Path(odd).exists()
    assert run(BIN / "flmadm", "uninstall", "--prefix", home / "flame-none").code == 3


def test_units_for_systemd(tmp_path, monkeypatch):
    """What systemd would be given: it does not run here."""
    monkeypatch.setattr(services, "UNITS", tmp_path)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(services, "_systemctl", lambda *words: asked.append(words))
    wanted = Wanted(str(tmp_path / "flame"), ("worker",), join="tls://h:8080", ca_hash="sha256:00", systemd=True)
    (tmp_path / "flame" / "sbin").mkdir(parents=True)
    services.write(wanted)
    unit = (tmp_path / "flame-worker.service").read_text()
    assert "Restart=on-failure" in unit
    assert "LimitNOFILE=65536" in unit
    assert asked == [("daemon-reload",)]
    line = (tmp_path / "flame" / "sbin" / "run-flame-worker").read_text()
    assert "agent join tls://h:8080 --ca-hash sha256:00" in line
