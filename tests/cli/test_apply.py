"""flame apply, create, replace: what is right is made, what is wrong is named with its line, and nothing is half done."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

GUIDE = Path(__file__).parents[1] / "objects" / "guide"
TRAIN = """\
apiVersion: flame.xflops.cn/v1alpha1
kind: FlameWorkload
metadata:
  name: {name}
  labels: {{app: {name}}}
spec:
  type: Training
  replicas: 2
  template:
    spec:
      restartPolicy: Never
      containers:
      - name: main
        image: none
        command: [sleep, "600"]
        resources: {{requests: {{cpu: "{cpu}"}}}}
"""


def train(name="train", cpu="1"):
    return TRAIN.format(name=name, cpu=cpu)


@pytest.mark.ledger("B-038")
@pytest.mark.parametrize("name", sorted(path.stem for path in GUIDE.glob("*.yaml")))
def test_a_block_of_the_guide_is_accepted_as_it_is(flame, name):
    """The namespace that the blocks share is made by the first of them; each must be accepted alone."""
    flame("create", "namespace", "flame-system")  # there from the start, or made: both will do
    text = (GUIDE / f"{name}.yaml").read_text()
    ran = flame("apply", "--dry-run=server", "-f", "-", stdin=text)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines and all(line.endswith(" created (server dry run)") for line in lines), ran.out
    assert flame("get", "fw", "-A", "-o", "name").out == "", "a dry run keeps nothing"


def test_an_applied_workload_says_what_starts_where_and_what_comes_next(flame):
    ran = flame("apply", "-f", "-", stdin=train())
    assert ran.code == 0, ran
    lines = [line.strip() for line in ran.out.splitlines()]
    assert lines[0] == "flameworkload.flame.xflops.cn/train created"
    assert lines[1] == "What:  2 replicas of Training, all or none together; each asks cpu 1"
    assert lines[2].startswith("Where: ranks 0-1 on node ")
    assert "left on" in lines[3] and "cpu 2 of 4" in lines[3]
    assert lines[4:] == [
        "Next:",
        "flame get pods -l flame.xflops.cn/workload=train",
        "flame logs -f train",
        "flame wait workload/train --for=condition=Complete",
        "flame debug workload train",
    ]
    for line in lines[5:6] + lines[8:]:
        assert flame(*line.split()[1:]).code == 0, line
    again = flame("apply", "-f", "-", stdin=train())
    assert again.out.splitlines()[0].endswith("unchanged")


def test_a_workload_that_waits_says_why(flame):
    ran = flame("apply", "-f", "-", stdin=train(cpu="3"))
    assert "Waits: gang: a gang of 2 starts at once" in ran.out
    assert "it would start with 1 replica fewer\n" in ran.out
    assert "flame logs" not in ran.out


def test_a_misspelt_key_is_named_with_its_line_and_nothing_is_written(flame, tmp_path):
    wrong = train("b").replace("replicas: 2", "replics: 2").replace("command:", "comand:")
    path = tmp_path / "both.yaml"
    path.write_text(train("a") + "---\n" + wrong)
    ran = flame("apply", "-f", path)
    assert ran.code == 65
    line = path.read_text().splitlines().index("  replics: 2") + 1
    assert f"{path}:{line}: spec.replics: unknown field 'replics' (did you mean replicas?)" in ran.err
    assert "comand" in ran.err and "did you mean command?" in ran.err, "all of them come together"
    assert flame("get", "fw", "-o", "name").out == ""


def test_what_the_engine_refuses_keeps_back_the_others(flame, tmp_path):
    """Legal as a document; the engine knows better. The first one is not written either."""
    flame("apply", "-f", "-", stdin=train("there"))
    other = (
        train("there")
        .replace("type: Training", "type: Inference")
        .replace("restartPolicy: Never", "restartPolicy: Always")
    )
    path = tmp_path / "both.yaml"
    path.write_text(train("new") + "---\n" + other)
    ran = flame("apply", "-f", path)
    assert ran.code != 0 and "spec.type" in ran.err
    assert flame("get", "fw", "-o", "name").out == "flameworkload.flame.xflops.cn/there\n"


@pytest.mark.parametrize(
    ("words", "text", "said"),
    [
        (("-f", "-"), "a: [", "stdin:2: not YAML"),
        (("-f", "-"), "", "there are no objects in -"),
        (("-f", "-"), "- 1", "stdin:1: a document must be a mapping"),
        (("-f", "-"), "kind: FlameWorkload\nmetadata: {name: a}", "apiVersion: is missing"),
        (("-f", "-"), "apiVersion: v1\nkind: FlameWorklod\nmetadata: {name: a}", "did you mean FlameWorkload?"),
        (("-f", "nowhere.yaml"), None, "nowhere.yaml: no such file or directory"),
        ((), None, "which files?"),
    ],
)
def test_what_is_no_object_is_said(flame, words, text, said):
    ran = flame("apply", *words, stdin=text)
    assert ran.code in (65, 68) and said in ran.err, ran


def test_directories_and_several_files(flame, tmp_path):
    (tmp_path / "d" / "deep").mkdir(parents=True)
    (tmp_path / "d" / "a.yaml").write_text(train("a"))
    (tmp_path / "d" / "b.json").write_text(json.dumps(yaml.safe_load(train("b"))))
    (tmp_path / "d" / "notes.txt").write_text("no object")
    (tmp_path / "d" / "deep" / "c.yml").write_text(train("c"))
    (tmp_path / "e.yaml").write_text(train("e"))
    flat = flame("apply", "--dry-run=client", "-f", "d", "-f", "e.yaml", "-o", "name").out.split()
    assert [name.rpartition("/")[2] for name in flat] == ["a", "b", "e"]
    deep = flame("apply", "--dry-run=server", "-R", "-f", "d", "-o", "name").out.split()
    assert [name.rpartition("/")[2] for name in deep] == ["a", "b", "c"]


def test_defaults_are_shown_and_nothing_is_written(flame):
    ran = flame("apply", "--show-defaults", "-f", "-", stdin=train())
    assert ran.code == 0, ran
    body = yaml.safe_load(ran.out)
    assert body["spec"]["replicas"] == 2 and body["metadata"]["namespace"] == "default"
    assert body["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == 30
    assert json.loads(flame("apply", "--show-defaults", "-o", "json", "-f", "-", stdin=train()).out) == body
    assert flame("get", "fw", "-o", "name").out == ""


def test_namespaces(flame):
    text = train("spaced")
    ran = flame("apply", "-n", "team", "-f", "-", stdin=text)
    assert ran.code == 68 and "flame create namespace team" in ran.err
    together = f"{text}---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: team}}\n"
    ran = flame("apply", "-n", "team", "-f", "-", stdin=together)
    assert ran.code == 0 and ran.out.splitlines()[:2] == [
        "namespace/team created",
        "flameworkload.flame.xflops.cn/spaced created",
    ]
    assert "flame logs -f spaced -n team" in ran.out
    assert flame("get", "fw").out == "" and "spaced" in flame("get", "fw", "-A").out
    wrong = flame(
        "apply", "-n", "team", "-f", "-", stdin=text.replace("name: spaced", "name: spaced\n  namespace: default")
    )
    assert wrong.code == 65 and "the command says 'team'" in wrong.err
    assert flame("delete", "fw", "spaced", "-n", "team", "--force").code == 0
    assert flame("delete", "namespace", "team").code == 0


def test_create_and_replace(flame):
    assert flame("create", "-f", "-", stdin=train()).code == 0
    twice = flame("create", "-f", "-", stdin=train())
    assert twice.code == 73 and "exists" in twice.err
    body = json.loads(flame("get", "fw", "train", "-o", "json").out)
    body["spec"]["replicas"] = 1
    assert flame("replace", "-f", "-", stdin=json.dumps(body)).code == 0
    stale = flame("replace", "-f", "-", stdin=json.dumps(body))
    assert stale.code == 75 and "resourceVersion" in stale.err + stale.out


def test_warnings_are_told(flame):
    text = train().replace("restartPolicy: Never", "restartPolicy: Never\n      hostNetwork: true")
    ran = flame("apply", "-f", "-", stdin=text)
    assert ran.code == 0 and "Warning: accepted and not acted upon: " in ran.err and "hostNetwork" in ran.err
