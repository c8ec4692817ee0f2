"""The HTTP interface as an OpenAPI 3.1 document. Pure.

Paths and methods come from the front desk's own table of routes, and from the one route that
HAProxy gives to workers; here stands only what is said about each. A route about which nothing is
said here is a failing test.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from serving.edge.openapi_schemas import schemas

JSON: Final = "application/json"
BINARY: Final = "application/octet-stream"
EVENTS: Final = "text/event-stream"
INFER_PATHS: Final = ("/v2/models/{model}/infer", "/v2/models/{model}/versions/{version}/infer")
HIDDEN: Final = frozenset({"/metrics", "/v2/repository/models//load"})
"""Another port's, and a spelling of a mistake."""

Json = dict[str, Any]


class Said(NamedTuple):
    """What a client has to know of an operation."""

    tag: str
    summary: str
    reply: str = ""
    """The schema of a success; empty for an empty body."""
    request: str = ""
    """The schema of the body; empty: there is none."""


_MODEL: Final = MappingProxyType(
    {
        "GET ": Said("metadata", "Name, versions and tensors of a model", "ModelMetadata"),
        "GET /ready": Said("health", "Whether the model answers", "ModelReady"),
        "GET /config": Said("model-config", "The model's configuration", "ModelConfig"),
        "GET /stats": Said("statistics", "Counters of the model's versions", "Statistics"),
        "POST /infer": Said("inference", "Predict", "InferResponse", "InferRequest"),
        "POST /generate": Said("inference", "Predict with flat JSON", "Generated", "Generate"),
        "POST /generate_stream": Said(
            "inference", "Predict with flat JSON, as server-sent events", "Events", "Generate"
        ),
        "POST /labels": Said("labels", "Say what was true of predictions", "LabelsKept", "Labels"),
        "GET /trace/setting": Said("trace", "Trace settings of a model", "TraceSettings"),
        "POST /trace/setting": Said(
            "trace", "Change trace settings of a model", "TraceSettings", "TraceChanges"
        ),
    }
)
_REGION: Final = MappingProxyType(
    {
        "GET /status": Said("shared-memory", "Regions that are registered", "Regions"),
        "POST /register": Said("shared-memory", "Register a region", "", "Region"),
        "POST /unregister": Said("shared-memory", "Forget a region, or all"),
    }
)
_CUDA_REGION: Final = MappingProxyType(
    {
        **_REGION,
        "GET /status": Said("shared-memory", "Regions on GPUs", "CudaRegions"),
        "POST /register": Said("shared-memory", "Register memory on a GPU", "", "CudaRegion"),
    }
)
_OTHERS: Final = MappingProxyType(
    {
        "GET /openapi.json": Said("metadata", "This document", "Object"),
        "GET /v2": Said("metadata", "Name, version and extensions", "ServerMetadata"),
        "GET /v2/health/live": Said("health", "Whether the server lives", "Live"),
        "GET /v2/health/ready": Said("health", "Whether every wanted model is ready", "Ready"),
        "GET /v2/models/stats": Said("statistics", "Counters of all models", "Statistics"),
        "GET /v2/logging": Said("logging", "Log settings", "LogSettings"),
        "POST /v2/logging": Said("logging", "Change log settings", "LogSettings", "Object"),
        "GET /v2/trace/setting": Said("trace", "Trace settings", "TraceSettings"),
        "POST /v2/trace/setting": Said(
            "trace", "Change trace settings", "TraceSettings", "TraceChanges"
        ),
        "POST /v2/repository/index": Said(
            "model-repository", "List models and versions", "Index", "IndexRequest"
        ),
        "POST /v2/repository/{repository}/index": Said(
            "model-repository", "List models and versions", "Index", "IndexRequest"
        ),
    }
)


def said_of(method: str, path: str) -> Said | None:
    """Return what is said of an operation; None: nothing."""
    found = _OTHERS.get(f"{method} {path}")
    if found is not None:
        return found
    model = re.fullmatch(r"/v2/models/\{model\}(?:/versions/\{version\})?(/.*|)", path)
    if model is not None:
        return _MODEL.get(f"{method} {model[1]}")
    region = re.fullmatch(r"/v2/(system|cuda)sharedmemory(?:/region/\{region\})?(/\w+)", path)
    if region is not None:
        return (_CUDA_REGION if region[1] == "cuda" else _REGION).get(f"{method} {region[2]}")
    if re.fullmatch(r"/v2/repository/(\{repository\}/)?models/\{model\}/(un)?load", path):
        word = path.rpartition("/")[2]
        return Said("model-repository", f"{word.capitalize()} a model", "", "RepositoryRequest")
    return None


def openapi_document(routes: Iterable[tuple[str, str]], version: str) -> Json:
    """Describe an interface.

    Args:
        routes: Methods, separated by blanks, and path of each route of the front desk.
        version: Of the software.
    """
    paths: Json = {}
    for methods, path in (*routes, *(("POST", path) for path in INFER_PATHS)):
        if path in HIDDEN:
            continue
        item = paths.setdefault(path, {"parameters": _path_parameters(path)})
        for method in methods.split():
            item[method.lower()] = _operation(method, path)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Bascule",
            "version": version,
            "description": "Open Inference Protocol v2, with Triton's extensions.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": {
                "Failure": {
                    "description": "What went wrong, in words. 4xx: the request; 503: try again.",
                    "content": {JSON: {"schema": _reference("Error")}},
                }
            },
        },
    }


def _operation(method: str, path: str) -> Json:
    said = said_of(method, path) or Said("other", path)
    operation: Json = {
        "operationId": _identifier(method, path),
        "tags": [said.tag],
        "summary": said.summary,
        "responses": {
            "200": {"description": "Done", **_content(said.reply)},
            "default": {"$ref": "#/components/responses/Failure"},
        },
    }
    if said.request:
        operation["requestBody"] = {"required": said.tag == "inference", **_content(said.request)}
    if said.request == "InferRequest":
        operation["parameters"] = [_header_length()]
        operation["responses"]["200"]["headers"] = {
            "Inference-Header-Content-Length": {
                "description": "Bytes of the JSON, where tensors follow it.",
                "schema": {"type": "integer", "minimum": 0},
            }
        }
    return operation


def _content(schema: str) -> Json:
    if not schema:
        return {}
    if schema == "Events":
        return {"content": {EVENTS: {"schema": {"type": "string"}}}}
    content: Mapping[str, Json] = {JSON: {"schema": _reference(schema)}}
    if schema.startswith("Infer"):
        # JSON, and then the raw tensors of the entries that carry `binary_data_size`.
        return {"content": {**content, BINARY: {}}}
    return {"content": content}


def _header_length() -> Json:
    return {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "description": "Bytes of the JSON, where raw tensors follow it; 0: the body is the one "
        "input of a model that has one.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    }


def _path_parameters(path: str) -> list[Json]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[0-9]+$"}
            if name == "version"
            else {"type": "string", "minLength": 1},
        }
        for name in re.findall(r"\{(\w+)\}", path)
    ]


def _identifier(method: str, path: str) -> str:
    words = re.findall(r"\w+", path.removeprefix("/v2"))
    return "_".join([method.lower(), *words])


def _reference(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}
