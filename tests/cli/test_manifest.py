from __future__ import annotations

import pytest

from flame.cli.manifest import parse_manifests, read_manifests
from flame.core.base.errors import InvalidArgument, NotFound

WHOLE = """---
metadata:
  name: first
spec:
  shim: wasm
  command: /bin/true
  description: "says \\"yes\\""
  labels: [a, b]
  arguments: ["-x"]
  environments: {A: "1"}
  working_directory: /srv
  max_instances: 4
  delay_release: 9
  schema:
    input: '{"type": "string"}'
---
metadata: {name: second}
"""


def test_documents_are_read_whole():
    first, second = parse_manifests(WHOLE, "x.yaml")
    assert (first.name, first.spec.shim, first.spec.command) == ("first", 1, "/bin/true")
    assert (first.spec.labels, first.spec.arguments, first.spec.environments) == (("a", "b"), ("-x",), {"A": "1"})
    assert (first.spec.max_instances, first.spec.delay_release) == (4, 9.0)
    assert (first.spec.schema_input, first.spec.schema_output) == ('{"type": "string"}', None)
    assert (second.name, second.spec.max_instances, second.spec.delay_release) == ("second", 1_000_000, 60.0)
    assert not first.warnings


MISTAKES = [
    ("spec: {}", ":1: metadata.name is missing"),
    ("metadata: {}\nspec: {}", ":1: metadata.name is missing"),
    ("metadata: {name: 5}", ":1: metadata.name must be a text, found a whole number ('5')"),
    (
        "metadata:\n  name: a\nspec:\n  max_instances: many",
        ":4: spec.max_instances must be a whole number, 0 or more, found a text",
    ),
    ("metadata: {name: a}\nspec:\n  delay_release: -1", ":3: spec.delay_release must be a whole number"),
    ("metadata: {name: a}\nspec:\n  shim: docker", ":3: spec.shim: unknown shim 'docker'"),
    ("metadata: {name: a}\nspec:\n  labels: x", ":3: spec.labels must be a list of texts"),
    ("metadata: {name: a}\nspec:\n  arguments:\n  - ok\n  - 3", ":5: spec.arguments[1] must be a text"),
    ("metadata: {name: a}\nspec:\n  environments: {A: 1}", ":3: spec.environments.A must be a text"),
    ("metadata: {name: a}\nspec: [1]", ":2: spec must be a mapping, found a list"),
    ("metadata: {name: a}\nspec:\n  command: a\n  command: b", ":4: spec has 'command' twice"),
    ("metadata: {name: a}\nspec:\n  command: [", ": not YAML"),
    ("metadata: {name: a}\nspec:\n  working_directory: tmp", ":3: spec.working_directory must be absolute"),
    ("metadata: {name: ../a}", ":1: invalid application name"),
    ("metadata: {name: a}\nspec: {schema: {output: '['}}", ":1: invalid output schema: not JSON"),
    ("", "no document"),
    ("just text", "must be a mapping"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
def test_a_mistake_is_told_with_its_line(text, words):
    with pytest.raises(InvalidArgument) as found:
        parse_manifests(text, "x.yaml")
    assert words in str(found.value)


def test_an_unknown_key_is_a_warning():
    (only,) = parse_manifests("metadata: {name: a}\nspec:\n  comand: x", "x.yaml")
    assert only.warnings[0].startswith("x.yaml:3: spec.comand is not known")


def test_a_missing_or_binary_file_is_a_typed_error(tmp_path):
    with pytest.raises(NotFound, match="no file"):
        read_manifests(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidArgument, match="not a text file"):
        read_manifests(tmp_path / "b.yaml")
