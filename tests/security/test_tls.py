"""Live rotation under grpc.aio, and who is at the other end."""

from __future__ import annotations

import asyncio
import logging

import grpc
import pytest
from security.servers import ask, grpc_server, run

from flame.core.base.errors import InvalidArgument, NotFound
from flame.security import pem
from flame.security.authority import Authority, describe
from flame.security.probe import _look
from flame.security.tls import channel_credentials, diagnose, peer_of, server_credentials


async def shown(port: int) -> str:
    """Fingerprint of what the server shows now."""
    return (await asyncio.to_thread(_look, "127.0.0.1", port, 5))[0].fingerprint


@pytest.mark.ledger("A-48")
def test_peers_are_who_their_certificate_says(ours):
    server = ours.identity("grpc")
    agent = ours.identity("n1", "agent")
    client = ours.identity("ada@example.com", "client", ())

    async def main() -> None:
        async with grpc_server(server_credentials(server.pem, ours.ca, True), peer_of) as port:
            assert await ask(port, channel_credentials(ours.ca, agent.pem)) == "('agent', 'n1')"
            assert await ask(port, channel_credentials(ours.ca, client.pem)) == "('client', 'ada@example.com')"
            with pytest.raises(grpc.aio.AioRpcError):
                await ask(port, channel_credentials(ours.ca))
        async with grpc_server(server_credentials(server.pem, ours.ca, False), peer_of) as port:
            assert await ask(port, channel_credentials(ours.ca)) == "None"

    run(main)


def test_a_certificate_without_one_role_of_ours_is_nobody(ours, tmp_path):
    assert peer_of({}) is None
    assert peer_of({"transport_security_type": [b"ssl"]}) is None
    assert peer_of({"x509_pem_cert": [ours.ca.read_bytes()]}) is None
    agent = pem.read_pair(ours.identity("n2", "agent").pem).chain
    assert peer_of({"x509_pem_cert": [agent]}) == ("agent", "n2")


@pytest.mark.ledger("A-48")
def test_rotation_is_live_and_no_connection_fails(tmp_path):
    authority = Authority.create(tmp_path / "certs")
    server = authority.issue("server", "server", ["localhost", "127.0.0.1"])
    agent = authority.issue("agent", "n1")
    answers: list[list[str]] = [[], [], []]
    done = asyncio.Event()

    async def connect(port: int, mine: list[str]) -> None:
        while not done.is_set():
            mine.append(await ask(port, channel_credentials(authority.ca_file, agent.pem)))

    async def more() -> None:
        """Every client began anew since: it read the files as they are now."""
        goals = [len(mine) + 3 for mine in answers]
        while any(len(mine) < goal for mine, goal in zip(answers, goals, strict=True)):
            await asyncio.sleep(0.005)

    async def main() -> None:
        credentials = server_credentials(server.pem, authority.ca_file, True)
        async with grpc_server(credentials, peer_of) as port, asyncio.TaskGroup() as clients:
            for mine in answers:
                clients.create_task(connect(port, mine))
            seen = {await shown(port)}
            await more()
            for _ in range(5):
                await asyncio.to_thread(authority.rotate)
                seen.add(await shown(port))
                await more()
            assert len(seen) == 6
            for step in (authority.rotate_ca, authority.rotate, authority.drop_old_ca):
                await asyncio.to_thread(step)
                await more()
            assert await shown(port) == describe(server.pem).fingerprint
            done.set()

    run(main)
    assert sum(len(mine) for mine in answers) >= 9 * 9
    assert {one for mine in answers for one in mine} == {"('agent', 'n1')"}


def test_after_the_old_authority_is_dropped_its_clients_are_refused(tmp_path):
    authority = Authority.create(tmp_path / "certs")
    server = authority.issue("server", "server", ["127.0.0.1"])
    old = tmp_path / "old.pem"
    pem.write_pair(old, authority.pair("agent", "n1"))

    async def main() -> None:
        async with grpc_server(server_credentials(server.pem, authority.ca_file, True)) as port:
            assert await asyncio.to_thread(diagnose, "127.0.0.1", port, authority.ca_file, old) == ""
            authority.rotate_ca()
            authority.rotate()
            assert await asyncio.to_thread(diagnose, "127.0.0.1", port, authority.ca_file, old) == ""
            authority.drop_old_ca()
            said = await asyncio.to_thread(diagnose, "127.0.0.1", port, authority.ca_file, old)
            assert "refused our certificate" in said

    run(main)


def test_a_file_that_cannot_be_used_changes_nothing(tmp_path, caplog):
    authority = Authority.create(tmp_path / "certs")
    server = authority.issue("server", "server", ["127.0.0.1"])
    good = server.pem.read_bytes()
    foreign = authority.pair("server", "server").key + pem.read_pair(server.pem).chain

    async def main() -> None:
        async with grpc_server(server_credentials(server.pem, authority.ca_file, False)) as port:
            for bad in (b"", good[:300], foreign):
                pem.write_file(server.pem, bad)
                with caplog.at_level(logging.ERROR, "flame.tls"):
                    caplog.clear()
                    assert await shown(port) == server.certificate.fingerprint
                assert "stay as they were" in caplog.text
            server.pem.unlink()
            assert await shown(port) == server.certificate.fingerprint
            new = authority.issue("server", "server", ["127.0.0.1"])
            assert await shown(port) == new.certificate.fingerprint

    run(main)


def test_a_server_does_not_start_with_files_that_cannot_be_used(ours, tmp_path):
    server = ours.identity("start")
    with pytest.raises(NotFound, match=r"none\.pem"):
        server_credentials(tmp_path / "none.pem", ours.ca, True)
    with pytest.raises(NotFound, match=r"none\.pem"):
        server_credentials(server.pem, tmp_path / "none.pem", True)
    with pytest.raises(InvalidArgument, match="0 private keys"):
        server_credentials(ours.ca, ours.ca, True)
    mixed = tmp_path / "mixed.pem"
    mixed.write_bytes(ours.authority.pair("server", "start").key + pem.read_pair(server.pem).chain)
    with pytest.raises(InvalidArgument, match="KEY_VALUES_MISMATCH"):
        server_credentials(mixed, ours.ca, True)
    with pytest.raises(NotFound):
        channel_credentials(tmp_path / "none.pem")
