"""The admin API's OpenAPI document: valid, and about every call that there is."""

import asyncio
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import BaseModel
from starlette.requests import Request
from starlette.routing import Route

from serving.edge.admin_api import OrderBody, PromoteBody, RetireBody, RolloutBody, admin_app
from tests.fakes.control import FakeControl

APP = admin_app(FakeControl())
ROUTES = [route for route in APP.routes if isinstance(route, Route)]


def answer(path: str) -> Any:  # noqa: ANN401  JSON
    """What a readable route gives."""
    route = next(one for one in ROUTES if one.path == path)
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    scope |= {"path_params": {"number": "7"}}

    async def asked() -> bytes:
        return bytes((await route.endpoint(Request(scope))).body)

    return json.loads(asyncio.run(asked()))


def served() -> dict[str, Any]:
    """The document as it is served."""
    found: dict[str, Any] = answer("/openapi.json")
    return found


def test_the_admin_document_is_valid() -> None:
    """The validator of OpenAPI 3.1 has nothing to say."""
    assert list(OpenAPIV31SpecValidator(served()).iter_errors()) == []


def test_it_is_about_every_route_and_no_other() -> None:
    """Methods and paths are those of the application."""
    paths = served()["paths"]
    said = {
        (method.upper(), path)
        for path, item in paths.items()
        for method in item
        if method != "parameters"
    }
    there = {
        (method, route.path) for route in ROUTES for method in (route.methods or set()) - {"HEAD"}
    }
    assert said == there


def test_every_call_has_words_and_a_name_of_its_own() -> None:
    """Generators name functions by the identifier, people read the summary."""
    operations = [
        operation
        for item in served()["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    names = [one["operationId"] for one in operations]
    assert len(names) == len(set(names))
    assert all(one["summary"] and one["tags"] for one in operations)


@pytest.mark.parametrize("body", [PromoteBody, RetireBody, RolloutBody, OrderBody])
def test_what_is_said_of_a_body_is_what_checks_it(body: type[BaseModel]) -> None:
    """Field by field, with its bounds: the schema is that of the model that parses the call."""
    schemas = served()["components"]["schemas"]
    own = body.model_json_schema(ref_template="#/components/schemas/{model}")
    assert schemas[body.__name__]["properties"] == own["properties"]
    assert set(own.get("$defs", {})) <= set(schemas)


@pytest.mark.parametrize("path", ["/v1/status", "/v1/rollouts", "/v1/rollouts/{number}"])
def test_an_answer_is_as_described(path: str) -> None:
    """What the call gives fits the schema of its success."""
    document = served()
    success = document["paths"][path]["get"]["responses"]["200"]
    schema = success["content"]["application/json"]["schema"]
    validator = Draft202012Validator(schema | {"components": document["components"]})
    assert list(validator.iter_errors(answer(path))) == []
