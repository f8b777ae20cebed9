"""What a node says of itself: the file, the command line, and what becomes of it."""

import re

import pytest

from flame.agent import node as nodes_of
from flame.cli import running
from flame.cluster.listening import own_addresses, reached
from flame.core.base.errors import InvalidArgument
from flame.core.model.messages import Device, Taint
from flame.ops import nodes
from flame.shell.listener import Public

FILE = """
images:
  ghcr.io/x/train:v1: {directory: /opt/train, command: [python, train.py], env: {A: 1}}
cluster:
  node: n1
  labels: {zone: a, gpu: true}
  taints: ["dedicated=ml:NoSchedule", {key: nvidia.com/gpu, effect: NoExecute}]
  simulate_gpus: nvidia-a100:2x40Gi
  max_workloads: 3
  restart_backoff: [500ms, 30]
  rejoin_grace: 5s
  host_paths: [/models]
"""


def test_a_file_and_the_command_line_together(tmp_path):
    (tmp_path / "f.yaml").write_text(FILE)
    config = running.settings(
        tmp_path, tmp_path / "f.yaml", labels=["zone=b", "rack="], taints=["a:NoSchedule"], gpus=None
    )
    node = nodes_of.this_node(config)
    assert config.images["ghcr.io/x/train:v1"]["command"] == ["python", "train.py"]
    assert (config.restart_backoff, config.rejoin_grace, config.host_paths) == ((0.5, 30.0), 5.0, ("/models",))
    assert node.max_workloads == 3
    assert node.labels.items() >= {"zone": "b", "gpu": "true", "rack": "", "kubernetes.io/hostname": "n1"}.items()
    assert node.taints == (Taint("dedicated", "ml"), Taint("nvidia.com/gpu", "", "NoExecute"), Taint("a"))
    assert node.devices == tuple(Device(f"SIM-nvidia-a100-{i}", "nvidia-a100", 40 << 30) for i in range(2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"labels": ["zone"]}, "KEY=VALUE"),
        ({"labels": ["zone=a b"]}, "at most 63"),
        ({"taints": ["a=b"]}, "KEY=VALUE:Effect"),
        ({"taints": ["a=b:Never"]}, "NoExecute"),
        ({"simulate_gpus": "a100"}, "simulated GPUs 'a100'"),
        ({"simulate_gpus": "a100:0x40Gi"}, "simulated GPUs"),
        ({"simulate_gpus": "a100:2x40Zi"}, "not a size"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path, given, said):
    with pytest.raises(InvalidArgument, match=said):
        running.settings(tmp_path, None, **given)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("images: {a: {dir: /x}}", "line 2: images: image a: unknown keys ['dir']"),
        ("images: {a: {directory: x}}", "not absolute"),
        ("  labels: [1]", "line 2: cluster.labels: '1'"),
        ("  restart_backoff: [5s, 1s]", "the first is above 0"),
        ("  rejoin_grace: soon", "not a duration"),
        ("  taints: x", "no list of taints"),
    ],
)
def test_mistakes_in_the_file_have_their_line(tmp_path, line, said):
    (tmp_path / "f.yaml").write_text(f"cluster:\n{line}\n" if line.startswith(" ") else f"cluster: {{}}\n{line}\n")
    with pytest.raises(InvalidArgument, match=re.escape(said)):
        running.settings(tmp_path, tmp_path / "f.yaml")


def test_several_models_of_simulated_gpus():
    found = nodes.simulated("a:1x1Gi, b:2x80Gi,a:1x1Gi")
    assert [device.uuid for device in found] == ["SIM-a-0", "SIM-b-0", "SIM-b-1", "SIM-a-1"] and nodes.simulated(
        None
    ) == []


def test_labels_of_gpus_are_valid_labels():
    found = nodes_of.labels("n", "x86_64", "linux", [Device("u", "NVIDIA H100 80GB HBM3 (x)", 81559 << 20)], False)
    assert nodes.labels(found) == found
    assert (found["nvidia.com/gpu.product"], found["nvidia.com/gpu.memory"]) == ("NVIDIA-H100-80GB-HBM3-x", "81559")
    assert (found["kubernetes.io/arch"], nodes_of.address_towards("127.0.0.1")) == ("amd64", "127.0.0.1")
    assert "nvidia.com/gpu" not in nodes_of.labels("n", "x86_64", "linux", [], False)


def test_the_address_of_a_machine_that_others_join(tmp_path):
    def of(host, name):
        return reached(Public(host, name, 8080, tmp_path))

    assert reached(None) == of("127.0.0.1", "localhost") == "127.0.0.1"
    beyond = [one for one in own_addresses() if one != "::1" and not one.startswith("127.")]
    for one in beyond:
        assert of(one, one) == one
    assert of("0.0.0.0", "localhost") == (beyond or ["127.0.0.1"])[0]  # a name that only this machine knows
