"""Scheduler plugins by the name that configurations use. Each one answers some of the questions in `hooks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flame.core.base.errors import InvalidArgument
from flame.core.scheduler.hooks import Policy
from flame.core.scheduler.plugins.drf import Drf
from flame.core.scheduler.plugins.gpu import GpuStrategy
from flame.core.scheduler.plugins.placing import Binpack, Gang, Shim, Spread
from flame.core.scheduler.plugins.priority import Priority
from flame.core.scheduler.plugins.rules import Rules
from flame.core.scheduler.settings import SchedulingSettings

Maker = Callable[[SchedulingSettings], object]

PLUGINS: Mapping[str, Maker] = {
    "priority": lambda settings: Priority(settings.priority_quantum),
    "drf": lambda settings: Drf(settings.quantum),
    "gang": lambda settings: Gang(),
    "shim": lambda settings: Shim(),
    "binpack": lambda settings: Binpack(),
    "spread": lambda settings: Spread(),
    "rules": lambda settings: Rules(),
    "gpu": lambda settings: GpuStrategy(),
}


ALWAYS = ("shim", "rules", "gpu")


def make_policy(settings: SchedulingSettings, more: Sequence[object] = ()) -> Policy:
    """The plugins that `settings` names, then the shim, rules and gpu, which are always on, then `more`: a user's own, which may crash.

    Raises InvalidArgument for an unknown name and HookMismatch for a plugin with an unknown hook.
    """
    unknown = [name for name in settings.plugins if name not in PLUGINS]
    if unknown:
        raise InvalidArgument(f"unknown scheduler plugins {unknown}", hint=f"known: {sorted(PLUGINS)}")
    names = list(dict.fromkeys([*settings.plugins, *ALWAYS]))
    return Policy([PLUGINS[name](settings) for name in names], more)
