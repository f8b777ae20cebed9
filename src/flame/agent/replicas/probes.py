"""One run of a probe from this host: http and tcp. (exec is a command like any other, see `host`.)"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Mapping

from flame.core.model.messages import ProbeSpec

STATUS_LINE = 1024
"""Bytes of an answer that are looked at."""


def port_of(probe: ProbeSpec, names: Mapping[str, int]) -> int:
    """`names`: of ports, and their numbers as texts, to ports of this host. Raises ValueError for a name that is none."""
    found = names.get(probe.port)
    return found if found is not None else int(probe.port)


async def run(probe: ProbeSpec, names: Mapping[str, int]) -> tuple[bool, str]:
    """Did it pass, and what came of it. Never raises but for cancellation; bounded by the probe's timeout."""
    try:
        port = port_of(probe, names)
    except ValueError:
        return False, f"there is no port {probe.port!r}"
    where = f"{probe.host or '127.0.0.1'}:{port}"
    try:
        async with asyncio.timeout(max(probe.timeout, 0.01)):
            if probe.kind == "tcp":
                _, writer = await asyncio.open_connection(probe.host or "127.0.0.1", port)
                writer.close()
                return True, ""
            return await _http(probe, port)
    except TimeoutError:
        return False, f"{probe.kind} {where}: no answer within {probe.timeout:g} s"
    except (OSError, ValueError) as error:
        return False, f"{probe.kind} {where}: {error}"


async def _http(probe: ProbeSpec, port: int) -> tuple[bool, str]:
    """A status from 200 to 399 passes, redirects included: they are not followed."""
    secure = probe.scheme.upper() == "HTTPS"
    context = None
    if secure:  # it asks whether the service lives, not who it is
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(probe.host or "127.0.0.1", port, ssl=context)
    try:
        headers = {"Host": f"{probe.host or '127.0.0.1'}:{port}", "User-Agent": "flame-probe", "Accept": "*/*"}
        headers |= dict(probe.headers)
        lines = [f"GET {probe.path if probe.path.startswith('/') else '/' + probe.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in (headers | {"Connection": "close"}).items()]
        if any("\r" in line or "\n" in line for line in lines):
            return False, "http: a line break in its path or headers"
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await writer.drain()
        line = (await reader.readuntil(b"\n"))[:STATUS_LINE].decode("latin-1").strip()
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return False, f"http 127.0.0.1:{port}{probe.path}: not an answer"
    finally:
        with contextlib.suppress(OSError):
            writer.close()
    words = line.split(" ", 2)
    if not words[0].startswith("HTTP/") or len(words) < 2 or not words[1].isdecimal():
        return False, f"http 127.0.0.1:{port}{probe.path}: not an answer: {line[:80]}"
    return 200 <= int(words[1]) < 400, f"http 127.0.0.1:{port}{probe.path}: status {words[1]}"
