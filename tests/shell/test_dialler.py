"""A process that dials another one of the cluster: turned away, it says why once and comes again."""

from __future__ import annotations

import asyncio
import logging

from flame.core.base.errors import Unavailable
from flame.core.model import messages as m
from flame.shell.address import Address, listen
from flame.shell.gate import UNIX
from flame.shell.plane import Dialler, Handler, Plane

TURNED_AWAY = 3


class Shy(Handler):
    """Stands by for the first connections, leads from then on."""

    def __init__(self):
        self.plane, self.met = Plane(self), 0

    def joined(self, peer, hello, identity):
        self.met += 1
        if self.met <= TURNED_AWAY:
            self.plane.connections[peer].refuse(Unavailable("stands by here"))
        else:
            self.plane.send(peer, m.Welcome(1, 1, "h", "memory"))
            self.plane.send(peer, m.Done())


def test_who_is_turned_away_comes_again_and_its_owner_hears_only_of_the_leader(tmp_path, caplog):
    caplog.set_level(logging.WARNING, "flame.plane")
    heard, ups, downs = [], [], []

    async def main():
        shy, address = Shy(), Address(path=str(tmp_path / "s"))
        door = listen(address)
        shy.plane.serve(door, UNIX)
        dialler = Dialler(
            (address,),
            lambda: m.Hello("manager"),
            lambda request, message: heard.append(message),
            lambda: ups.append(1),
            lambda: downs.append(1),
        )
        dialler.start()
        async with asyncio.timeout(20):
            while not heard:
                await asyncio.sleep(0.01)
        dialler.stop()
        shy.plane.stop()
        door.close()
        await asyncio.sleep(0.05)
        return shy.met

    assert asyncio.run(main()) == TURNED_AWAY + 1
    assert heard == [m.Done()]
    assert (len(ups), len(downs)) == (TURNED_AWAY + 1, TURNED_AWAY + 1)
    said = [r.message for r in caplog.records if r.message == "stands by here"]
    assert said == ["stands by here"], "once, not at every attempt"
