"""The settings of the cluster that concern the gateway, as they are now: read at the start, and again whenever one of them changes."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from flame.core.base.errors import Expired, FlameError
from flame.core.objects.settings import ClusterSettings, Source, config_source, effective, values_source, view
from flame.core.objects.tree import NAMESPACE
from flame.gateway.callers import Callers
from flame.sdk.direct import Direct
from flame.wire.manifests import parse

log = logging.getLogger("flame.gateway")

KINDS = (("FlameValues", ""), ("ConfigMap", NAMESPACE))
"""Where settings are: kind, namespace."""
PAUSE = 1.0
"""Seconds before the next try when the cluster cannot be asked."""


class LiveSettings:
    """`now`: what holds; the defaults until they could be read. `changed` is called after every change."""

    def __init__(self, callers: Callers, token: str) -> None:
        self._callers, self._token = callers, token
        self.now = ClusterSettings()
        self.known = asyncio.Event()

    async def follow(self) -> None:
        """For ever."""
        while True:
            try:
                async with self._callers.borrow(self._token) as caller:
                    await self._follow(caller.direct)
            except Expired:
                continue
            except FlameError as error:
                log.warning("settings cannot be read: %s", error)
                await asyncio.sleep(PAUSE)

    async def _follow(self, direct: Direct) -> None:
        while True:
            versions = await self._read(direct)
            self.known.set()
            waiting = [
                asyncio.ensure_future(_change(direct, kind, space, version))
                for (kind, space), version in zip(KINDS, versions, strict=True)
            ]
            try:
                done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for one in waiting:
                    one.cancel()
                await asyncio.gather(*waiting, return_exceptions=True)
            for one in done:
                one.result()

    async def _read(self, direct: Direct) -> list[int]:
        """The versions from which changes are new."""
        versions: list[int] = []
        sources: list[Source] = []
        for kind, space in KINDS:
            found = await direct.list(kind, namespace=space)
            versions.append(found.version)
            sources += [source for body in found.bodies if (source := _source(kind, body)) is not None]
        try:
            self.now = view(effective(sources))
        except FlameError as error:
            log.warning("the settings are not legal, those before hold on: %s", error)
        return versions


async def _change(direct: Direct, kind: str, namespace: str, version: int) -> None:
    """Until there is one."""
    while True:
        news = await direct.changes(kind, version, namespace=namespace)
        if news.changes:
            return
        version = news.version


def _source(kind: str, body: bytes) -> Source | None:
    found = msgspec.json.decode(body)
    if kind == "FlameValues":
        return values_source(found, f"FlameValues {found['metadata']['name']}")
    return config_source(found, parse)
