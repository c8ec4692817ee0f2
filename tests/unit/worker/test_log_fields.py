"""What log lines say of calls."""

import json

import pytest

from serving.worker.log_fields import MAX_CALLS, batch_fields, call_fields
from tests.fakes.batching import HeldCall

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Asked(HeldCall):
    """A call with headers."""

    def __init__(self, **headers: str) -> None:
        """Come with these."""
        super().__init__(1.0)
        self.headers = {name.encode(): text.encode() for name, text in headers.items()}


def test_a_line_names_request_and_trace() -> None:
    """As the caller gave them; what was not given is left out."""
    call = Asked(traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    call.call = call.call.__class__(
        id="r-7",
        rows=1,
        shapes=call.call.shapes,
        stack_key="k",
        tensors=call.call.tensors,
        outputs=(),
    )
    assert call_fields(call) == {"request_id": "r-7", "trace_id": TRACE}
    assert call_fields(Asked()) == {}
    assert call_fields(HeldCall(1.0)) == {}


def test_a_call_that_was_not_decoded_has_a_trace_only() -> None:
    """Its id is in the body."""
    call = Asked(traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
    del call.call
    assert call_fields(call) == {"trace_id": TRACE}


@pytest.mark.parametrize("context", ["", "x", "00-a", "00-a-b-c-d", "\\-\\-"])
def test_what_is_no_trace_context_is_no_trace(context: str) -> None:
    """A client may send anything."""
    assert call_fields(Asked(traceparent=context)) == {}


def test_a_line_of_a_batch_does_not_grow_with_it() -> None:
    """The first calls stand for all; it can be written as JSON."""
    batch = [Asked(traceparent=f"00-{TRACE}-00f067aa0ba902b7-01") for _ in range(10 * MAX_CALLS)]
    assert len(batch_fields(batch)["calls"]) == MAX_CALLS
    assert json.dumps(batch_fields(batch))
    assert batch_fields([HeldCall(1.0)]) == {}
