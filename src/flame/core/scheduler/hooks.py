"""What a scheduler plugin may answer, and how the answers of several combine.

A plugin is an object with a `name` and some of these methods; None means "no opinion".

    order(a, b) -> int | None        which demand of one tenant goes first (negative: `a`); the first opinion counts
    fits(node, demand) -> bool | None  may an executor of this demand start on this node; every opinion must be true
    score(node, demand) -> float | None  how good the node is, higher is better; the sum counts
    preempts(claimant, owner, victim, now) -> bool | None  may the claimant have this placement of another demand; first opinion

A method that is not in the table is a mistake and is reported when the policy is built, not when it is missed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flame.core.base.errors import HookMismatch
from flame.core.model.snapshot import PlacementView
from flame.core.scheduler.nodestate import NodeState
from flame.core.scheduler.proposal import DemandState

Answer = Callable[..., Any]


def first(answers: Sequence[Answer], *question: object) -> Any:
    """The first opinion, None when nobody has one."""
    for answer in answers:
        opinion = answer(*question)
        if opinion is not None:
            return opinion
    return None


def every(answers: Sequence[Answer], *question: object) -> bool:
    """False as soon as one says False; true when nobody objects."""
    return all(answer(*question) is not False for answer in answers)


def total(answers: Sequence[Answer], *question: object) -> float:
    """The sum of all opinions."""
    return sum(answer(*question) or 0.0 for answer in answers)


HOOKS: Mapping[str, Callable[..., Any]] = {"order": first, "fits": every, "score": total, "preempts": first}


class Policy:
    """Plugins in the order in which they are asked. Raises HookMismatch when one has a method no hook is named after.

    guarded: plugins of users, asked last; one that crashes has no opinion, and `complaints` says so.
    """

    def __init__(self, plugins: Sequence[object], guarded: Sequence[object] = ()) -> None:
        self.plugins = (*plugins, *guarded)
        self.guarded = tuple(guarded)
        #: name of a guarded plugin -> what it raised, since somebody took it
        self.complaints: dict[str, str] = {}
        self._answers: dict[str, list[Answer]] = {hook: [] for hook in HOOKS}
        for plugin in self.plugins:
            check_plugin(plugin)
            for hook, answers in self._answers.items():
                method = getattr(plugin, hook, None)
                if method is not None:
                    answers.append(self._guarded(plugin, hook, method) if plugin in guarded else method)

    def _guarded(self, plugin: object, hook: str, method: Answer) -> Answer:
        name = plugin_name(plugin)

        def ask(*question: object) -> Any:
            try:
                return method(*question)
            except Exception as error:
                self.complaints[name] = f"{hook}: {type(error).__name__}: {error}"
                return None

        return ask

    def order(self, a: DemandState, b: DemandState) -> int:
        return first(self._answers["order"], a, b) or 0

    def fits(self, node: NodeState, demand: DemandState) -> bool:
        return every(self._answers["fits"], node, demand)

    def score(self, node: NodeState, demand: DemandState) -> float:
        return total(self._answers["score"], node, demand)

    def preempts(self, claimant: DemandState, owner: DemandState, victim: PlacementView, now: float) -> bool:
        return bool(first(self._answers["preempts"], claimant, owner, victim, now))

    def objectors(self, node: NodeState, demand: DemandState) -> list[str]:
        """Names of the plugins that do not want this demand on this node."""
        return [
            plugin_name(plugin)
            for plugin in self.plugins
            if hasattr(plugin, "fits") and self._objects(plugin, node, demand)
        ]

    def _objects(self, plugin: Any, node: NodeState, demand: DemandState) -> bool:
        try:
            return plugin.fits(node, demand) is False
        except Exception as error:
            self.complaints[plugin_name(plugin)] = f"fits: {type(error).__name__}: {error}"
            return False


def plugin_name(plugin: object) -> str:
    return str(getattr(plugin, "name", type(plugin).__name__.lower()))


def check_plugin(plugin: object) -> None:
    """Raises HookMismatch for public methods that are no hooks, naming the hooks there are."""
    methods = [word for word in dir(plugin) if not word.startswith("_") and callable(getattr(plugin, word))]
    unknown = [word for word in methods if word not in HOOKS]
    if unknown:
        raise HookMismatch(
            f"{plugin_name(plugin)}: unknown hooks {unknown}; known: {sorted(HOOKS)}",
            hint="rename the method, or start its name with an underscore when it is no hook",
        )
