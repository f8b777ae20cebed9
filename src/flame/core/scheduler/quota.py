"""The quota tree: who may use how much, who borrows from whom.

Every demand is charged to some quotas (a namespace's ResourceQuota, its tenant's), and through them to their parents. `hard` is
never passed.
Of what is `guaranteed` to a quota the unused part may be borrowed by its siblings, as far as it lends; what is borrowed goes back when
its owner asks. The rules are those of hierarchical fair sharing with nominal quotas as Kueue describes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flame.core.model.snapshot import QuotaView


@dataclass(frozen=True, slots=True)
class Refusal:
    """`asked` more of `resource` would pass `limit` of the quota, of which `used` is used. `borrowing`: the limit is what others
    lend now."""

    quota: str
    resource: str
    used: int
    limit: int
    asked: int
    borrowing: bool = False


class QuotaTree:
    """Usage by quota and resource, changed as the proposal places and takes back."""

    def __init__(self, views: Iterable[QuotaView], used: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self._views = {view.name: view for view in views}
        self._used: dict[str, dict[str, int]] = {name: dict((used or {}).get(name, {})) for name in self._views}
        self._leaving: dict[str, dict[str, int]] = {}
        self._children: dict[str, list[str]] = {}
        for view in self._views.values():
            self._children.setdefault(view.parent, []).append(view.name)
        #: does any quota look at the model of a GPU?
        self.by_model = any("@" in name for view in self._views.values() for name in (*view.hard, *view.guaranteed))

    def __bool__(self) -> bool:
        return bool(self._views)

    def usage(self) -> Mapping[str, Mapping[str, int]]:
        """Of all quotas; it goes on changing with the tree."""
        return self._used

    def __contains__(self, quota: str) -> bool:
        return quota in self._views

    def used(self, quota: str) -> Mapping[str, int]:
        return self._used[quota]

    def counts(self, quotas: Sequence[str], quota: str) -> bool:
        """Does this quota count what these are charged?"""
        return quota in self._chain(quotas)

    def charge(self, quotas: Sequence[str], amounts: Mapping[str, int], sign: int = 1) -> None:
        """Book (or, with -1, give back) the use of a placement, all the way up."""
        for name in self._chain(quotas):
            used = self._used[name]
            for resource, amount in amounts.items():
                used[resource] = used.get(resource, 0) + sign * amount

    def leave(self, quotas: Sequence[str], amounts: Mapping[str, int], sign: int = 1) -> None:
        """A placement that is booked is on its way out (or, with -1, stays after all)."""
        for name in self._chain(quotas):
            leaving = self._leaving.setdefault(name, {})
            for resource, amount in amounts.items():
                leaving[resource] = leaving.get(resource, 0) + sign * amount

    def refusal(
        self, quotas: Sequence[str], amounts: Mapping[str, int], count: int = 1, *, later: bool = False
    ) -> Refusal | None:
        """What forbids `count` more placements of this size (`later`: once what leaves has left); None when nothing does."""
        for name in self._chain(quotas):
            view = self._views[name]
            for resource, amount in amounts.items():
                if amount <= 0:
                    continue
                have, asked = self._have(name, resource, later), amount * count
                limit = view.hard.get(resource)
                if limit is not None and have + asked > limit:
                    return Refusal(name, resource, have, limit, asked)
                guaranteed = view.guaranteed.get(resource)
                if guaranteed is None or have + asked <= guaranteed:
                    continue
                room = guaranteed - min(have, guaranteed) + max(0, self.lendable(name, resource, later=later))
                if asked > room:
                    return Refusal(name, resource, have, have + room, asked, borrowing=True)
        return None

    def _have(self, name: str, resource: str, later: bool) -> int:
        used = self._used[name].get(resource, 0)
        return used - self._leaving.get(name, {}).get(resource, 0) if later else used

    def lendable(self, borrower: str, resource: str, *, later: bool = False) -> int:
        """What siblings would still lend: their unused guarantees as far as they lend, less what is borrowed already by anybody."""
        free = borrowed = 0
        for name in self._children.get(self._views[borrower].parent, ()):
            view = self._views[name]
            guaranteed = view.guaranteed.get(resource, 0)
            have = self._have(name, resource, later)
            borrowed += max(0, have - guaranteed)
            if name != borrower:
                unused = max(0, guaranteed - have)
                free += min(unused, view.lend.get(resource, unused))
        return free - borrowed

    def would_borrow(self, quotas: Sequence[str], amounts: Mapping[str, int]) -> bool:
        """Would one more be beyond what some of them are guaranteed?"""
        return any(
            amount > 0
            and resource in self._views[name].guaranteed
            and self._used[name].get(resource, 0) + amount > self._views[name].guaranteed[resource]
            for name in self._chain(quotas)
            for resource, amount in amounts.items()
        )

    def borrows(self, quotas: Sequence[str], amounts: Mapping[str, int]) -> bool:
        """Will any of them still use more than it is guaranteed, of something that is in `amounts`, when what leaves has left?"""
        return any(
            self._have(name, resource, True) > self._views[name].guaranteed[resource]
            for name in self._chain(quotas)
            for resource in amounts
            if resource in self._views[name].guaranteed
        )

    def is_owed(self, quotas: Sequence[str], amounts: Mapping[str, int], count: int = 1) -> bool:
        """Would `count` more still be within what some of them are guaranteed, and within no more than that in the others, when what
        leaves has left?"""
        owed = False
        for name in self._chain(quotas):
            for resource, amount in amounts.items():
                guaranteed = self._views[name].guaranteed.get(resource)
                if guaranteed is not None and amount > 0:
                    if self._have(name, resource, True) + amount * count > guaranteed:
                        return False
                    owed = True
        return owed

    def _chain(self, quotas: Sequence[str]) -> list[str]:
        """The quotas and all above them, each once."""
        found: dict[str, None] = {}
        for name in quotas:
            while name in self._views and name not in found:
                found[name] = None
                name = self._views[name].parent
        return list(found)


def charge_on(charge: Mapping[str, int], model: str) -> Mapping[str, int]:
    """What a placement is charged on a node with this GPU model: its GPUs count by model as well."""
    gpus = {f"{name}@{model}": amount for name, amount in charge.items() if name.endswith("nvidia.com/gpu")}
    return {**charge, **gpus} if gpus else charge
