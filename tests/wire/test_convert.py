from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flame.core.base.errors import InvalidArgument
from flame.core.model import messages as m
from flame.wire import convert
from flame.wire.v1 import types_pb2 as pb

maybe_text = st.none() | st.text(max_size=8)
maybe_bytes = st.none() | st.binary(max_size=8)


@st.composite
def specs(draw: st.DrawFn) -> m.AppSpec:
    return m.AppSpec(
        shim=draw(st.sampled_from([0, 1])),
        description=draw(maybe_text),
        labels=tuple(draw(st.lists(st.text(max_size=4), max_size=3))),
        command=draw(maybe_text),
        environments=draw(st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)),
        working_directory=draw(st.none() | st.just("/srv")),
        max_instances=draw(st.integers(0, 2**32 - 1)),
        delay_release=float(draw(st.integers(0, 10**6))),
        schema_input=draw(maybe_text),
        schema_common_data=draw(maybe_text),
        url=draw(maybe_text),
        installer=draw(maybe_text),
    )


@given(specs())
def test_an_application_survives_the_wire(spec):
    sent = pb.ApplicationSpec.FromString(convert.app_spec(spec).SerializeToString())
    assert convert.to_app_spec(sent) == spec


@given(maybe_bytes, maybe_bytes)
def test_absent_and_empty_payloads_stay_apart(input, output):
    info = m.TaskInfo("s", 3, 2, 1, 1.5, 2.25, input, output, (m.EventInfo(3, "no", 2.0),))
    sent = pb.Task.FromString(convert.task(info).SerializeToString())
    assert (sent.spec.input if sent.spec.HasField("input") else None) == input
    assert (sent.spec.output if sent.spec.HasField("output") else None) == output
    assert (sent.metadata.id, sent.metadata.name) == ("3", "3")
    assert (sent.status.creation_time, sent.status.completion_time) == (1500, 2250)
    assert [(e.code, e.message, e.creation_time) for e in sent.status.events] == [(3, "no", 2000)]


def a_session(**spec: object) -> m.SessionInfo:
    return m.SessionInfo("s", 1, m.SessionSpec("app", **spec), 0, 1.0, None, 1, 2, 3, 4, 5)


def test_a_session_echoes_batch_size_one_and_always_its_resources():
    sent = convert.session(a_session())
    assert sent.spec.batch_size == 1
    assert sent.spec.HasField("resreq")
    assert (sent.spec.resreq.cpu, sent.spec.resreq.memory) == (1, 1 << 30)
    assert not sent.spec.HasField("max_instances")
    assert not sent.spec.HasField("common_data")
    assert not sent.status.HasField("completion_time")
    assert (sent.status.pending, sent.status.failed, sent.status.cancelled) == (1, 4, 5)


def test_part_of_a_cpu_is_shown_as_a_whole_one():
    assert convert.session(a_session(resources={"cpu": 1500, "gpu": 250})).spec.resreq == pb.ResourceRequirement(
        cpu=2, gpu=1
    )


@given(maybe_bytes, st.none() | st.integers(0, 9))
def test_a_session_spec_survives_the_wire(common, most):
    spec = m.SessionSpec("app", common, 1, most, 7, {"cpu": 2000, "memory": 5}, detached=True)
    sent = pb.SessionSpec.FromString(convert.session_spec(spec).SerializeToString())
    assert convert.to_session_spec(sent) == spec


def test_no_resreq_means_the_cluster_decides():
    assert convert.to_session_spec(pb.SessionSpec(application="a")).resources == {}


@pytest.mark.parametrize("text", ["", "x", "1.0", "1_0", "٣", "9" * 30, "9223372036854775808"])
def test_a_task_id_must_be_a_64_bit_number(text):
    with pytest.raises(InvalidArgument, match="invalid task id"):
        convert.to_task_no(text)


def test_a_task_id_may_be_any_64_bit_number():
    assert convert.to_task_no("-1") == -1
    assert convert.to_task_no("9223372036854775807") == 2**63 - 1


def test_resources_no_machine_has_are_refused():
    with pytest.raises(InvalidArgument, match="cpu is out of range"):
        convert.to_resources(pb.ResourceRequirement(cpu=2**63))


def test_every_object_has_metadata_spec_and_status():
    for sent in (
        convert.session(a_session()),
        convert.task(m.TaskInfo("s", 1, 0, 1, 0.0, None, None, None)),
        convert.application(m.AppInfo("a", m.AppSpec(), 0, 0.0)),
        convert.executor(m.ExecutorInfo("e", "n", 2, None)),
        convert.node(m.NodeInfo("n", 1, {}, {})),
    ):
        assert all(sent.HasField(part) for part in ("metadata", "spec", "status"))


def test_a_reported_node_needs_a_name():
    with pytest.raises(InvalidArgument, match="no name"):
        convert.to_register_node(pb.Node(), ())
