"""Which sequence a message belongs to."""

from hypothesis import given
from hypothesis import strategies as st

from protos.generated import open_inference_pb2 as pb
from serving.wire.proto_sequence import SequenceName, id_of, sequence_of
from serving.wire.protobuf import MAX_FIELDS

IDS = st.one_of(st.integers(1, 2**63 - 1), st.text(min_size=1).filter(lambda t: t.isprintable()))


def message(model: str, sequence: int | str, raw: bytes = b"") -> bytes:
    """Write a call of a sequence."""
    call = pb.ModelInferRequest(model_name=model, raw_input_contents=[raw])
    if isinstance(sequence, str):
        call.parameters["sequence_id"].string_param = sequence
    else:
        call.parameters["sequence_id"].int64_param = sequence
    call.parameters["sequence_start"].bool_param = True
    return call.SerializeToString()


@given(st.text(), IDS, st.binary())
def test_the_sequence_of_a_call_is_read(model: str, sequence: int | str, raw: bytes) -> None:
    """Model and id come back as they were written, whatever the tensors are."""
    assert sequence_of(message(model, sequence, raw)) == SequenceName(model, sequence)


def test_a_call_without_a_sequence_has_none() -> None:
    """No parameter, 0 and an empty text all mean: no sequence; nor do tensors make one."""
    plain = pb.ModelInferRequest(raw_input_contents=[b"sequence_id"]).SerializeToString()
    for call in (plain, message("m", 0), message("m", "")):
        assert sequence_of(call) is None


@given(st.binary().map(lambda raw: raw + b"sequence_id" + raw))
def test_bytes_that_are_no_message_belong_to_no_sequence_or_to_one(raw: bytes) -> None:
    """Nothing that a client sends raises here."""
    found = sequence_of(raw)
    assert found is None or found.sequence


def test_an_id_is_read_wherever_it_stands() -> None:
    """The last one counts, as everywhere in protobuf; without one it is empty."""
    named = pb.ModelInferRequest(model_name="m", id="a")
    named.inputs.add(name="x")
    assert id_of(named.SerializeToString()) == "a"
    later = pb.ModelInferRequest(id="b")
    assert id_of(named.SerializeToString() + later.SerializeToString()) == "b"
    assert id_of(pb.ModelInferRequest(model_name="m").SerializeToString()) == ""
    assert id_of(b"\xff") == ""


def test_an_id_is_not_looked_for_in_endless_messages() -> None:
    """Millions of empty inputs took seconds and gigabytes of whoever relays the refusal."""
    named = pb.ModelInferRequest(id="a").SerializeToString()
    endless = b"\x2a\x00" * MAX_FIELDS
    assert (id_of(named + endless), id_of(endless + named)) == ("a", "")
