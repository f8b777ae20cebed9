"""The simulator: promises hold over many seeds, the same seed is the same history, and failures can be replayed."""

import json
import os
import subprocess
import sys

import pytest

from flame.sim.clock import Clock
from flame.sim.disk import Disk, Row
from flame.sim.plan import FAULTS, draw
from flame.sim.world import World, run_seed

SEEDS = int(os.environ.get("FLAME_SIM_SEEDS", "200"))


def test_every_promise_holds_over_many_seeds():
    failures = [outcome for outcome in map(run_seed, range(SEEDS)) if outcome.failure]
    assert not failures, f"replay with: python -m flame.sim --start {failures[0].seed} --trace\n{failures[0].failure}"


@pytest.mark.parametrize("seed", [3, 17, 42])
def test_the_same_seed_is_the_same_history(seed):
    assert run_seed(seed) == run_seed(seed)


def test_looking_on_changes_nothing():
    watched = World(5, trace=True)
    assert watched.run().hash == run_seed(5).hash
    assert watched.clock.lines


def test_seeds_differ():
    assert len({run_seed(seed).hash for seed in range(20)}) == 20


def test_every_kind_of_fault_is_drawn():
    kinds = {kind for seed in range(300) for _, kind in draw(Clock(seed).rng, seed).faults}
    assert kinds == set(FAULTS)


def test_a_power_cut_takes_a_suffix_of_commits_and_only_under_process():
    for durability in ("process", "power"):
        lost = 0
        for seed in range(50):
            disk = Disk(Clock(seed).rng, durability)
            for position in range(1, 30):
                disk.begin([Row(position, "", b"")])
                assert disk.finish()
            assert disk.power_lost() is (durability == "process")
            assert list(disk.rows) == list(range(1, len(disk.rows) + 1))
            lost += 29 - len(disk.rows)
        assert (lost > 0) is (durability == "process")


def test_a_full_disk_keeps_nothing_of_a_commit():
    disk = Disk(Clock(1).rng, "power")
    disk.full = True
    disk.begin([Row(1, "", b"")])
    assert not disk.finish()
    assert not disk.rows


def sim(*words):
    command = [sys.executable, "-m", "flame.sim", *words]
    found = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": "src"}
    )
    return found.returncode, found.stdout


def test_the_command_reports_in_json():
    code, out = sim("--seeds", "3", "--jobs", "1", "-o", "json")
    assert (code, json.loads(out)["seeds"], json.loads(out)["failures"]) == (0, 3, [])


def test_the_command_says_how_to_replay_a_failure():
    code, out = sim("--seeds", "3", "--jobs", "1", "--mutant", "forget_counters")
    assert code == 1
    assert "replay: python -m flame.sim --start 0 --trace --mutant forget_counters" in out


def test_a_part_of_the_seeds_has_workloads():
    played = [script for seed in range(200) for script in draw(Clock(seed).rng, seed).jobs]
    assert {script.training for script in played} == {True, False} and 40 < len(played) < 200
