"""A short slice of `make fuzz`, without coverage: valid inputs with bytes changed, cut, doubled and joined."""

from __future__ import annotations

import random
import socket

import pytest
from fuzz.targets import TARGETS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flame.core.model import messages as m
from flame.shell.address import connect, parse
from flame.testing.cluster import LocalCluster
from flame.wire.codec import frame

ROUNDS = 400


def mutated(seeds: list[bytes], dice: random.Random) -> bytes:
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(5):
            case 0:
                data[at : at + 1] = bytes([dice.randrange(256)])
            case 1:
                del data[at : at + dice.randint(1, 8)]
            case 2:
                data[at:at] = dice.choice(
                    (b"\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xc0", b"/", b"..")
                )
            case 3:
                data[at:at] = dice.choice(seeds)
            case 4:
                data[at:at] = data[:at]
    return bytes(data[:4096])


@pytest.mark.parametrize("name", TARGETS)
def test_changed_inputs_are_answered(name):
    target, seeds = TARGETS[name]
    for seed in seeds:
        target(seed)
    dice = random.Random(20261122)
    for _ in range(ROUNDS):
        data = mutated(seeds, dice)
        try:
            target(data)
        except BaseException as error:
            raise AssertionError(f"{name}: {data!r}") from error


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=512))
def test_any_bytes_are_answered(name, data):
    TARGETS[name][0](data)


def test_garbage_by_grpc_and_on_every_socket_leaves_the_cluster_well():
    """Raw bytes to the plane's socket and to the compat listener's port; then everything still works."""
    dice = random.Random(7)
    seeds = [
        frame(m.Hello("client", client_id="x")),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        *TARGETS["frames"][1],
    ]
    with LocalCluster(compat="127.0.0.1:0") as cluster:
        host, port = cluster.run.compat.rsplit(":", 1)
        manager = cluster.pid("manager")
        for number in range(150):
            sock = (
                connect(parse(cluster.run.endpoint)) if number % 2 else socket.create_connection((host, int(port)), 5)
            )
            with sock:
                if number % 3:
                    sock.sendall(seeds[0])
                for _ in range(3):
                    try:
                        sock.sendall(mutated(seeds, dice))
                    except OSError:
                        break  # it hung up on us
        with cluster.connect() as client, client.session("flmping") as session:
            assert session.run(None).result(30)
        assert cluster.pid("manager") == manager, "garbage killed the session manager"
