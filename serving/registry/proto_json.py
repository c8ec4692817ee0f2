"""A protobuf message as the protocol's JSON writes it, which is not protobuf's own JSON.

Keys are the fields' names, 64-bit integers are numbers, enums are names; scalars, lists and maps
are written even at their default, sub-messages only where they are set.
"""

from collections.abc import Sequence
from typing import cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message


def message_json(message: Message) -> dict[str, object]:
    """Return a message as a dict that any JSON encoder takes."""
    # Both implementations of the descriptor (Python's and upb's) have the same attributes.
    fields = cast("Sequence[FieldDescriptor]", message.DESCRIPTOR.fields)
    return {
        field.name: _field(message, field)
        for field in fields
        if not field.has_presence or message.HasField(field.name)
    }


def _field(message: Message, field: FieldDescriptor) -> object:
    value = getattr(message, field.name)
    if not field.is_repeated:
        return _single(field, value)
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        entry = kind.fields_by_name["value"]
        return {str(key): _single(entry, value[key]) for key in sorted(value)}
    return [_single(field, item) for item in value]


def _single(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, Message):
        return message_json(value)
    if field.enum_type is not None and isinstance(value, int):
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return value
