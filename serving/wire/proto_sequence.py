"""Reads off a ModelInferRequest its id, and which sequence it belongs to; nothing else.

Whoever relays calls need not decode them, and better does not: nobody has checked them yet.
"""

from typing import Final

import msgspec

from runtimes.errors import InvalidArgumentError
from serving.wire.parameters import Scalar
from serving.wire.proto_parameters import read_parameter
from serving.wire.protobuf import BYTES, ProtobufError, budget_of, fields, text

_MODEL: Final = 1
_ID: Final = 3
_PARAMETERS: Final = 4
_WORD: Final = b"sequence_id"


class SequenceName(msgspec.Struct, frozen=True):
    """A sequence of a model."""

    model: str
    sequence: int | str


def id_of(message: bytes) -> str:
    """Return the id of a call, as far as that is a message and has no more fields than it may."""
    view, found = memoryview(message), ""
    try:
        for number, wire, start, end in fields(view, 0, len(view), budget_of()):
            if wire == BYTES and number == _ID:
                found = text(view, start, end)
    except ProtobufError:
        return found  # whoever decodes the message says what is wrong with it
    return found


def sequence_of(message: bytes) -> SequenceName | None:
    """Return the sequence of a call; None where it has none or is no message.

    Most calls have none, which a search for the parameter's name tells.
    """
    if _WORD not in message:
        return None
    try:
        return _sequence_of(memoryview(message))
    except InvalidArgumentError:
        return None  # whoever decodes the message refuses it


def _sequence_of(view: memoryview) -> SequenceName | None:
    model = ""
    parameters: dict[str, Scalar] = {}
    budget = budget_of()
    for number, wire, start, end in fields(view, 0, len(view), budget):
        if wire == BYTES and number == _MODEL:
            model = text(view, start, end)
        elif wire == BYTES and number == _PARAMETERS:
            read_parameter(view, start, end, parameters, budget)
    sequence = parameters.get("sequence_id", 0)
    if not isinstance(sequence, int | str) or not sequence:
        return None
    return SequenceName(model, sequence)
