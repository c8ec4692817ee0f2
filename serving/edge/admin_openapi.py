"""The admin API as an OpenAPI 3.1 document. Pure.

Made from the calls themselves: a call's path, the model that checks its body, and the record that
it answers with are what the document says, so the two cannot drift apart.
"""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
from starlette.requests import Request

from runtimes.errors import Code
from serving.registry.rollouts.record import Order

Json = dict[str, Any]

JSON: Final = "application/json"
PATH_SCHEMAS: Final[Mapping[str, Json]] = {
    "model": {"type": "string", "minLength": 1},
    "number": {"type": "integer", "minimum": 0},
    "order": {"type": "string", "enum": list(Order)},
}


@dataclass(frozen=True, slots=True)
class Words:
    """What a client has to know of a call."""

    tag: str
    summary: str
    reply: Any = Mapping[str, Any]
    """The record that a success is; by default an object without a promise."""


@dataclass(frozen=True, slots=True)
class AdminCall:
    """One call: how it is asked for, who answers it, and what is said of it."""

    method: str
    path: str
    answer: Callable[[Request], Awaitable[object]]
    words: Words
    body: Json | None = None
    """JSON Schema of the body, with its definitions; None: there is none."""
    query: Mapping[str, Json] = field(default_factory=dict)
    """Parameters after the question mark, which may be left out: name → schema."""
    media: tuple[str, ...] = ()
    """Types of a reply that is a text; empty: it is a record, as JSON."""


def reference_to(name: str) -> str:
    """Return where a schema stands in the document."""
    return f"#/components/schemas/{name}"


def admin_document(calls: Iterable[AdminCall], version: str) -> Json:
    """Describe an interface.

    Args:
        calls: All of it.
        version: Of the software.
    """
    calls = tuple(calls)
    replies, schemas = msgspec.json.schema_components(
        [call.words.reply for call in calls], ref_template=reference_to("{name}")
    )
    named: Json = {}
    paths: Json = {}
    for call, reply in zip(calls, replies, strict=True):
        item = paths.setdefault(call.path, _item(call.path))
        item[call.method.lower()] = _operation(call, reply, named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bascule's admin API",
            "version": version,
            "description": "What operators may ask for, on the socket run/admin.sock of "
            "BASCULE_HOME. A reply comes when every living edge has acknowledged the change.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "http://localhost/"}],
        "paths": paths,
        "components": {
            "schemas": {**named, **schemas, "Refusal": _refusal()},
            "responses": {"Refused": _refused()},
        },
    }


def _item(path: str) -> Json:
    names = re.findall(r"\{(\w+)\}", path)
    if not names:
        return {}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": PATH_SCHEMAS[name]}
        for name in names
    ]
    return {"parameters": parameters}


def _operation(call: AdminCall, reply: Json, named: Json) -> Json:
    """Describe one call; the schemas that its body refers to go into `named`."""
    words = [word for word in re.findall(r"\w+", call.path) if word != "v1"]
    content: Json = {JSON: {"schema": reply}}
    if call.media:
        content = {media: {"schema": {"type": "string"}} for media in call.media}
    operation: Json = {
        "operationId": "_".join([call.method.lower(), *words]),
        "tags": [call.words.tag],
        "summary": call.words.summary,
        "responses": {
            "200": {"description": "Done", "content": content},
            "default": {"$ref": "#/components/responses/Refused"},
        },
    }
    if call.query:
        operation["parameters"] = [
            {"name": name, "in": "query", "schema": schema} for name, schema in call.query.items()
        ]
    if call.body is not None:
        body = {name: value for name, value in call.body.items() if name != "$defs"}
        named |= call.body.get("$defs", {})
        named[body["title"]] = body
        shape = {JSON: {"schema": {"$ref": reference_to(body["title"])}}}
        is_needed = bool(body.get("required"))
        operation["requestBody"] = {"required": is_needed, "content": shape}
    return operation


def _refusal() -> Json:
    return {
        "type": "object",
        "properties": {
            "error": {"type": "string"},
            "code": {"type": "string", "enum": sorted(Code)},
        },
        "required": ["error", "code"],
    }


def _refused() -> Json:
    return {
        "description": "What went wrong, in words and as a code. 4xx: the call; 503: try again.",
        "content": {JSON: {"schema": {"$ref": reference_to("Refusal")}}},
    }
