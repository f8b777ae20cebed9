"""What every kind shares: metadata, labels, selectors, conditions, and what a kind is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from flame.core.objects import syntax
from flame.core.objects.paths import join, parts
from flame.core.objects.problems import Problem
from flame.core.objects.schema import Body, Boolean, Field, Integer, ListOf, MapOf, Object, Text


@dataclass(frozen=True)
class LabelText(Text):
    """The value of a label."""

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        found = list(super().inside(value, path))
        yield from found
        wrong = "" if found else syntax.wrong_label_value(value)
        if wrong:
            yield Problem(path, wrong)


@dataclass(frozen=True)
class NameText(Text):
    """The name of an object."""

    def inside(self, value: Any, path: str) -> Iterator[Problem]:
        found = list(super().inside(value, path))
        yield from found
        wrong = "" if found else syntax.wrong_name(value)
        if wrong:
            yield Problem(path, wrong)


LABELS = MapOf("Labels, to select by.", item=LabelText(), key=syntax.wrong_key)
ANNOTATIONS = MapOf("Free texts for tools.", item=Text(), key=syntax.wrong_key)
STRINGS = ListOf(item=Text())


def name_field(doc: str, required: bool = False) -> NameText:
    return NameText(doc, required=required)


def _named(value: Body, path: str) -> Iterator[Problem]:
    if not value.get("name") and not value.get("generateName"):
        yield Problem(join(path, "name"), "is missing", "every object has a name")


def metadata(namespaced: bool, labels: Field = LABELS, annotations: Field = ANNOTATIONS) -> Object:
    """The metadata of an object; what the server sets may be given and is looked at, not taken."""
    fields: dict[str, Field] = {
        "name": name_field("Name, unique among its kind (and namespace)."),
        "generateName": Text("Beginning of a name that the server completes."),
        "labels": labels,
        "annotations": annotations,
        "finalizers": ListOf("Who must let go before the object disappears.", item=Text()),
        "ownerReferences": ListOf("Objects that this one belongs to.", item=Field()),
        "resourceVersion": Text("Set by the server; given with a write, it must be the stored one."),
        "uid": Text("Set by the server."),
        "generation": Integer("Set by the server: counts changes of spec."),
        "creationTimestamp": Text("Set by the server."),
        "deletionTimestamp": Text("Set by the server when deletion begins."),
        "deletionGracePeriodSeconds": Integer("Set by the server when deletion begins."),
        "managedFields": ListOf("Set by the server: who wrote last.", item=Field()),
        "selfLink": Text("Not used any more."),
    }
    if namespaced:
        fields["namespace"] = Text("Namespace.", default="default", pattern=syntax.LABEL, rule=syntax.LABEL_RULE)
    about = "Name, labels and what the server knows about the object."
    return Object(about, fields=fields, required=True, checks=(_named,))


def top(
    kind: str, api_version: str, fields: dict[str, Field], namespaced: bool = True, doc: str = "", **more: Any
) -> Object:
    """The schema of a whole document."""
    return Object(
        doc,
        fields={
            "apiVersion": Text("Group and version.", choices=(api_version,), required=True),
            "kind": Text("Kind.", choices=(kind,), required=True),
            "metadata": metadata(namespaced, **more.pop("metadata", {})),
            **fields,
        },
        **more,
    )


def wrong_values(operator: str, count: int) -> str:
    """What is wrong with so many values for an operator of a label expression; empty: nothing."""
    match operator:
        case "In" | "NotIn":
            return "" if count else f"operator {operator} needs at least one value"
        case "Exists" | "DoesNotExist":
            return f"operator {operator} takes no values" if count else ""
    return "" if count == 1 else f"operator {operator} needs exactly one value"


def _expression(value: Body, path: str) -> Iterator[Problem]:
    wrong = wrong_values(value["operator"], len(value.get("values") or []))
    if wrong:
        yield Problem(join(path, "values"), wrong)
    if value["operator"] in ("Gt", "Lt"):
        for index, word in enumerate(value.get("values") or []):
            if not word.lstrip("-").isdigit():
                yield Problem(
                    join(join(path, "values"), index),
                    f"operator {value['operator']} compares whole numbers, found {word!r}",
                )
    wrong = syntax.wrong_key(value["key"])
    if wrong:
        yield Problem(join(path, "key"), wrong)


def expressions(doc: str, operators: tuple[str, ...]) -> ListOf:
    return ListOf(
        doc,
        item=Object(
            fields={
                "key": Text("The label.", required=True, empty=False),
                "operator": Text("How it is compared.", choices=operators, required=True),
                "values": ListOf("What it is compared with.", item=Text()),
            },
            checks=(_expression,),
        ),
    )


SELECTOR_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
NODE_OPERATORS = (*SELECTOR_OPERATORS, "Gt", "Lt")


def label_selector(doc: str, required: bool = False, unused: bool = False) -> Object:
    return Object(
        doc,
        required=required,
        unused=unused,
        fields={
            "matchLabels": MapOf("Labels that must be there.", item=LabelText(), key=syntax.wrong_key),
            "matchExpressions": expressions("Claims about labels.", SELECTOR_OPERATORS),
        },
    )


def conditions(doc: str = "What is so, and since when.") -> ListOf:
    return ListOf(
        doc,
        keys=("type",),
        item=Object(
            open=True,
            fields={
                "type": Text("What.", required=True, empty=False),
                "status": Text("Is it so?", choices=("True", "False", "Unknown"), required=True),
                "reason": Text("One word why."),
                "message": Text("The same for people."),
                "lastTransitionTime": Text("When the status changed."),
                "observedGeneration": Integer("The spec it speaks of."),
            },
        ),
    )


@dataclass(frozen=True)
class Column:
    """A printed column. kind: string, integer, number, boolean or date (shown as an age); wide: only with `-o wide`."""

    name: str
    path: str
    kind: str = "string"
    wide: bool = False

    @property
    def json_path(self) -> str:
        """The path as a resource definition writes it: `.status.capacity.nvidia\\.com/gpu`."""
        keys = (f"[{part}]" if isinstance(part, int) else "." + part.replace(".", "\\.") for part in parts(self.path))
        return "".join(keys)


AGE = Column("Age", "metadata.creationTimestamp", "date")


@dataclass(frozen=True)
class Kind:
    """One kind of object.

    writable:        may clients write it? otherwise it is a view of what the engine knows
    only_kubernetes: stored and checked; it has a meaning only on Kubernetes
    immutable:       paths that never change after creation
    foreground:      deletion waits until the engine has stopped what the object started
    """

    name: str
    group: str
    version: str
    plural: str
    schema: Object
    short: tuple[str, ...] = ()
    namespaced: bool = True
    writable: bool = True
    only_kubernetes: bool = False
    subresources: tuple[str, ...] = ()
    columns: tuple[Column, ...] = (AGE,)
    immutable: tuple[str, ...] = ()
    foreground: bool = False

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        return self.name.lower()

    @property
    def resource(self) -> str:
        """As Kubernetes names a resource definition: `flameworkloads.flame.xflops.cn`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def doc(self) -> str:
        return self.schema.doc


def boolean(doc: str, default: bool | None = None, unused: bool = False) -> Boolean:
    return Boolean(doc, default=default, unused=unused)


def ignored(doc: str) -> Field:
    """A field that is known and accepted, and not acted upon."""
    return Field(doc, unused=True)
