"""The OpenAPI document: valid, and about every route that there is."""

import json
from collections.abc import Iterable

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from serving.edge.front_desk import front_desk_app
from serving.edge.openapi import HIDDEN, INFER_PATHS, openapi_document, said_of
from tests.fakes.front_desk import desk_parts


def routes() -> Iterable[Route]:
    """The routes of the real application."""
    return [route for route in front_desk_app(*desk_parts()).routes if isinstance(route, Route)]


OPERATIONS = sorted(
    (method, route.path)
    for route in routes()
    for method in (route.methods or set()) - {"HEAD"}
    if route.path not in HIDDEN
)


def document() -> dict[str, object]:
    """The document of these routes."""
    return openapi_document(OPERATIONS, "1.2.3")


def test_it_is_valid() -> None:
    """The validator of OpenAPI 3.1 has nothing to say."""
    assert list(OpenAPIV31SpecValidator(document()).iter_errors()) == []


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_every_route_is_described(method: str, path: str) -> None:
    """A new route needs its words."""
    assert said_of(method, path) is not None


def test_it_holds_the_routes_and_no_others() -> None:
    """What the application answers, and what HAProxy gives to workers."""
    paths = json.loads(json.dumps(document()["paths"]))
    found = {(method.upper(), path) for path in paths for method in paths[path]}
    found = {(method, path) for method, path in found if method != "PARAMETERS"}
    assert found == {*OPERATIONS, *(("POST", path) for path in INFER_PATHS)}


def test_identifiers_are_unique() -> None:
    """Generators name functions by them."""
    paths = json.loads(json.dumps(document()["paths"]))
    names = [item["operationId"] for each in paths.values() for item in list(each.values())[1:]]
    assert len(names) == len(set(names))
