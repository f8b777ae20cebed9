from __future__ import annotations

import grpc
import pytest

from flame.core.base.errors import BY_CODE, AppInUse, FlameError, NotFound, SessionBusy, SessionClosed, SpecMismatch
from flame.wire.status import FROM_GRPC, TABLE, Grpc, edge, from_code, from_grpc


def test_every_error_class_has_a_row_and_no_row_is_left_over():
    assert TABLE.keys() == BY_CODE.keys()
    assert set(FROM_GRPC.values()) <= BY_CODE.keys()


def test_every_grpc_status_we_send_comes_back_as_an_error_that_sends_it():
    for row in TABLE.values():
        assert TABLE[FROM_GRPC[row.grpc]].grpc == row.grpc


def test_our_numbers_are_grpcs():
    for status in grpc.StatusCode:
        if status.name in Grpc.__members__:
            assert Grpc[status.name] == status.value[0]


def test_the_classes_that_clients_look_at_have_the_published_status():
    assert edge(SessionClosed).grpc is edge(SpecMismatch).grpc is edge(AppInUse).grpc is Grpc.INVALID_ARGUMENT
    assert edge(SessionBusy()).grpc is Grpc.INTERNAL
    assert edge(KeyError("x")) == TABLE["internal"]


@pytest.mark.parametrize("code", BY_CODE)
def test_a_code_comes_back_as_the_class_that_was_raised(code):
    error = from_code(code, "text", "hint")
    assert type(error) is BY_CODE[code]
    assert (error.message, error.hint) == ("text", "hint")


def test_a_code_from_the_future_is_still_an_error():
    assert type(from_code("quantum", "?")) is FlameError
    assert type(from_grpc(5, "gone")) is NotFound


def test_exit_codes_leave_0_1_and_2_free():
    assert all(row.exit > 2 for row in TABLE.values())
