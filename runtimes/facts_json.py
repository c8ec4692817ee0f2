"""Facts of a node as JSON text: the field names of the records, sets sorted.

`serving.registry.preflight.facts_file` reads it back, and checks it.
"""

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass

from runtimes.facts import NodeFacts


def facts_json(facts: NodeFacts) -> str:
    """Return facts as indented JSON, the same text for the same facts."""
    return json.dumps(plain(facts), indent=2, ensure_ascii=False)


def plain(value: object) -> object:
    """Return a record, or a part of one, in the types that JSON has."""
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(value[key]) for key in sorted(value)}
    if isinstance(value, frozenset):
        return sorted(plain(item) for item in value)  # type: ignore[type-var]  # texts only
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value
