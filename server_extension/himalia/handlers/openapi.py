"""The OpenAPI 3.1 document, made from the table of routes and the models.

``python -m himalia.handlers.openapi`` prints it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from himalia import __version__
from himalia.core.answers import ErrorAnswer
from himalia.core.errors import HimaliaError, TooMany, Unavailable
from himalia.core.spec import Spec
from himalia.handlers.parameters import NoParameters
from himalia.handlers.routes import Route, table
from himalia.kinds.base import Kind
from himalia.kinds.registry import load_kinds

Json = dict[str, Any]
"""A JSON object on its way out, never looked into."""

_REF = "#/components/schemas/{model}"
_ABOUT = """The REST interface of Himalia, served alike by Jupyter servers (below their base
address), by the user's control (over its Unix socket) and by a hub's control (below its address).

Unknown fields and unknown query parameters are refused with their name. Every error has the
shape of `ErrorAnswer`. Another method at a known address answers 405, an unknown address 404."""


def document(
    kinds: Iterable[Kind[Any]], server: str = "/himalia/api", more: Iterable[Route] = ()
) -> Json:
    """Describe every route for these kinds, and `more`, below the address `server`."""
    routes = (*table(kinds), *more)
    schemas = _schemas(routes)
    paths: dict[str, Json] = {"/openapi.json": {"get": _document_operation()}}
    for route in routes:
        paths.setdefault(f"/{route.path}", {})[route.method.lower()] = _operation(route, schemas)
    for name in ("NoParameters", *(route.query.__name__ for route in routes)):
        schemas.pop(name, None)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Himalia", "version": __version__, "description": _ABOUT,
                 "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"}},
        "servers": [{"url": server}],
        "security": [{"token": []}, {"cookie": [], "xsrf": []}, {}],
        "tags": [{"name": name} for name in sorted({_tag(route) for route in routes})],
        "paths": paths,
        "components": {"schemas": schemas, "responses": _errors(routes),
                       "securitySchemes": _SECURITY},
    }  # fmt: skip


_SECURITY: Json = {
    "token": {"type": "apiKey", "in": "header", "name": "Authorization",
              "description": "`token` and a Jupyter server's token, or at a hub's control one of "
                             "the hub's. Over the socket of a user's control the system says who "
                             "asks, and nothing is sent."},
    "cookie": {"type": "apiKey", "in": "cookie", "name": "username-host-port",
               "description": "The login of a Jupyter server; its name holds the address."},
    "xsrf": {"type": "apiKey", "in": "header", "name": "X-XSRFToken",
             "description": "The value of the cookie `_xsrf`, with requests that change."},
}  # fmt: skip


class _Schemas(GenerateJsonSchema):
    """Without a title for each field: its name says the same."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - of the base
        return False


def _schemas(routes: Iterable[Route]) -> dict[str, Json]:
    """Return the schema of every model by name."""
    sent = {route.body for route in routes if route.body} | {route.query for route in routes}
    given = {route.answer for route in routes if route.answer} | {ErrorAnswer}
    models = sorted(sent | given, key=lambda model: model.__name__)
    schemas = _define(models)
    # What a client sends may leave fields with a default out; what it gets always has all.
    accepted = set(_define(sorted(sent, key=lambda model: model.__name__)))
    for name in schemas.keys() - accepted:
        if "properties" in schemas[name]:
            schemas[name]["required"] = list(schemas[name]["properties"])
    if Spec.__name__ in schemas:
        # Lists of workloads of every kind hold the kinds' own fields too.
        schemas[Spec.__name__]["additionalProperties"] = True
    return schemas


def _define(models: Iterable[type[BaseModel]]) -> dict[str, Json]:
    _, made = models_json_schema(
        [(model, "validation") for model in models],
        ref_template=_REF,
        schema_generator=_Schemas,
    )
    definitions: dict[str, Json] = made["$defs"]
    return definitions


def _operation(route: Route, schemas: dict[str, Json]) -> Json:
    made: Json = {
        "operationId": route.name,
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": [*_path_parameters(route), *_query_parameters(route, schemas),
                       *_headers(route)],
        "responses": {str(route.success): _success(route)}
        | {str(error.http_status): {"$ref": f"#/components/responses/{_name(error)}"}
           for error in route.errors},
    }  # fmt: skip
    if route.body is not None:
        reference = {"$ref": _REF.format(model=route.body.__name__)}
        required = bool(schemas[route.body.__name__].get("required"))
        made["requestBody"] = {
            "required": required,
            "content": {"application/json": {"schema": reference}},
        }
    return made


def _path_parameters(route: Route) -> Iterator[Json]:
    for name in re.findall(r"{(\w+)}", route.path):
        schema: Json = {"type": "string", "minLength": 1}
        if name.endswith("_id"):
            schema = {"type": "string", "pattern": r"^[a-z]{3}-[0-9a-hjkmnp-tv-z]{26}$"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(route: Route, schemas: dict[str, Json]) -> Iterator[Json]:
    if route.query is NoParameters:
        return
    schema = schemas[route.query.__name__]
    for name, field in schema["properties"].items():
        yield {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", ()),
            "schema": _not_null(field),
        }


def _not_null(field: Json) -> Json:
    """A query parameter is left out where JSON would say null."""
    choices = [choice for choice in field.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1 and field.get("default", 0) is None:
        return dict(choices[0])
    return field


def _headers(route: Route) -> Iterator[Json]:
    if route.takes_key:
        yield {"name": "Idempotency-Key", "in": "header", "required": False,
               "description": "The same key with the same request is answered with what the "
                              "first one made; with another request it is a conflict.",
               "schema": {"type": "string", "minLength": 1, "maxLength": 200,
                          "pattern": "^[!-~]+$"}}  # fmt: skip
    if route.sends == "events":
        yield {"name": "Last-Event-ID", "in": "header", "required": False,
               "description": "Go on after the event with this id.",
               "schema": {"type": "string", "minLength": 1, "maxLength": 200,
                          "pattern": "^[!-~]+$"}}  # fmt: skip


def _success(route: Route) -> Json:
    if route.sends == "file":
        return {
            "description": "The file. It is never run in the server's origin: "
            "`Content-Security-Policy: sandbox`, `X-Content-Type-Options: nosniff`.",
            "headers": {
                "Content-Disposition": {"schema": {"type": "string"}},
                "Content-Length": {"schema": {"type": "integer"}},
                "Content-Security-Policy": {"schema": {"type": "string"}},
                "Himalia-Role": {"schema": {"enum": ["notebook", "export", "file"]}},
            },
            "content": {"*/*": {}},
        }
    if route.sends == "table":
        return {
            "description": f"{route.summary}: a CSV file with a header. A cell that a spreadsheet "
            "would take for a formula begins with an apostrophe.",
            "headers": {"Content-Disposition": {"schema": {"type": "string"}}},
            "content": {"text/csv": {"schema": {"type": "string"}}},
        }
    if route.answer is None:
        return {"description": "Done."}
    schema = {"$ref": _REF.format(model=route.answer.__name__)}
    if route.sends == "events":
        return {
            "description": "Server-sent events: `id`, `event` (the type) and `data`, which is "
            "JSON of this schema. Lines that begin with a colon keep the connection alive.",
            "content": {"text/event-stream": {"schema": schema}},
        }
    return {"description": route.summary, "content": {"application/json": {"schema": schema}}}


def _document_operation() -> Json:
    return {
        "operationId": "getOpenApi",
        "summary": "Show this document",
        "tags": ["service"],
        "parameters": [],
        "responses": {
            "200": {"description": "OpenAPI 3.1.",
                    "content": {"application/json": {"schema": {"type": "object"}}}},
            "400": {"$ref": "#/components/responses/InvalidInput"},
            "401": {"$ref": "#/components/responses/Unauthenticated"},
            "403": {"$ref": "#/components/responses/Forbidden"},
        },
    }  # fmt: skip


def _errors(routes: Iterable[Route]) -> dict[str, Json]:
    found = {error for route in routes for error in route.errors}
    schema = {"$ref": _REF.format(model=ErrorAnswer.__name__)}
    later = {"headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}}
    return {
        _name(error): {
            "description": f"`{error.code}`: {(error.__doc__ or '').splitlines()[0]}",
            "content": {"application/json": {"schema": schema}},
        }
        | (later if issubclass(error, TooMany | Unavailable) else {})
        for error in sorted(found, key=_name)
    }


def _name(error: type[HimaliaError]) -> str:
    return "Internal" if error is HimaliaError else error.__name__


def _tag(route: Route) -> str:
    return route.resource.removeprefix("himalia:")


if __name__ == "__main__":
    json.dump(document(load_kinds().values()), sys.stdout, indent=2)
    sys.stdout.write("\n")
