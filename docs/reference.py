"""Write docs/reference/ from the code: ``make docs``. tests/test_documented.py compares."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml
from pydantic import BaseModel
from traitlets import HasTraits, TraitType

import himalia
from himalia.cli.root import root
from himalia.control import settings as control_settings
from himalia.control.settings import Settings
from himalia.extension import HimaliaExtension
from himalia.handlers.admin_routes import admin_table
from himalia.handlers.openapi import document
from himalia.kinds.registry import load_kinds
from himalia_hub import roles
from himalia_hub.demo import DemoAuthenticator
from himalia_hub.identity.settings import OidcSettings
from himalia_hub.kubernetes.settings import Kubernetes
from himalia_hub.settings import Himalia as HubSettings

HERE = Path(__file__).resolve().parent
NOTICE = "<!-- Written by `make docs`; change the code instead. -->"

ENVIRONMENT = {
    "HIMALIA_HOME": "State folder of the user: the store, pinned inputs, runs with their files. "
    "Default: `himalia` in Jupyter's data folder (`jupyter --paths`).",
    "HIMALIA_URL": "Address of a Jupyter server that the command line and `himalia.Client` talk "
    "to, instead of this machine's own control.",
    "HIMALIA_CONTROL_URL": "Address of a hub's control, `https://HUB/services/himalia/`, that the "
    "command line and `himalia.Client` talk to where HIMALIA_URL is not set. Sessions and jobs of "
    "a hub have it.",
    "HIMALIA_TOKEN": "Token for either: a Jupyter server's, or one made on the hub's page *Token*. "
    "In a hub's jobs it is the run's own. In sessions JUPYTERHUB_API_TOKEN takes its place.",
    "HIMALIA_DEMO_PASSWORD": "Password of the demo logins of `make hub`; made at each start when "
    "it is not set.",
}
"""Every variable that the product reads from its users."""

Json = dict[str, Any]


def settings() -> str:
    """Describe the environment variables and the configurable traits."""
    lines = [NOTICE, "# Settings", "", "## Environment variables", "", *_head("Name", "Meaning")]
    lines += [_row(f"`{name}`", about) for name, about in ENVIRONMENT.items()]
    schema = Settings.model_json_schema()
    about = _field_texts()
    lines += [
        "",
        "## Control",
        "",
        f"In `{control_settings.NAME}` in the state folder. After changes: `himalia control stop`.",
        "",
        *_fields(Settings.__name__, schema, about),
    ]
    lines += [
        "",
        "## Jupyter configuration",
        "",
        "In any of Jupyter's configuration files, or on the command line of `jupyter lab`.",
    ]
    for configurable in (HimaliaExtension,):
        lines += ["", f"### {configurable.__name__}", "", *_head("Name", "Default", "Meaning")]
        lines += list(_traits(configurable))
    return "\n".join(lines) + "\n"


def hub() -> str:
    """Describe the settings of a hub, and who may do what there."""
    lines = [NOTICE, "# A hub: settings, scopes and roles", ""]
    lines += ["In `jupyterhub_config.py`, before or after `configure(c)`.", ""]
    for title, configurable, text in (
        ("Himalia", HubSettings, "As `c.Himalia.NAME`."),
        ("Login", OidcSettings, "As `c.Himalia.NAME` too; see [signing in](../how-to/sign-in.md)."),
        ("DemoAuthenticator", DemoAuthenticator, "The logins of `c.Himalia.demo`."),
        ("Kubernetes", Kubernetes, 'With `c.Himalia.platform = "kubernetes"`.'),
    ):
        lines += [f"## {title}", "", text, "", *_head("Name", "Default", "Meaning")]
        lines += [*_traits(configurable), ""]
    lines += ["## himalia-hub", "", "```text", _help("himalia_hub.start"), "```", ""]
    lines += ["## Scopes", "", *_head("Scope", "What it allows")]
    lines += [
        _row(f"`{name}`", scope["description"]) for name, scope in roles.custom_scopes().items()
    ]
    lines += ["", "## Roles", "", *_head("Who", "Scopes beyond JupyterHub's own")]
    lines += [
        _row("every user (`user`)", _codes(roles.user_scopes())),
        _row("the token of a user's server", _codes(roles.server_scopes())),
        _row("those in `group_admins`", _codes([f"{roles.ADMIN}!group=NAME", roles.ACCESS])),
        _row("JupyterHub's admins", f"`{roles.HUB_ADMIN}`, which counts as `{roles.ADMIN}`"),
    ]
    return "\n".join(lines) + "\n"


def _help(module: str) -> str:
    """Return what a program says of itself."""
    said = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-m", module, "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "90"},
    )  # fmt: skip
    return said.stdout.rstrip().replace("``", "")


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _traits(configurable: type[HasTraits]) -> Iterator[str]:
    for name, trait in sorted(configurable.class_own_traits(config=True).items()):
        yield _row(f"`{name}`", f"`{_default(trait)}`", str(trait.help).replace("``", "`"))


def _default(trait: TraitType[Any, Any]) -> str:
    # A set has no order of its own.
    return trait.default_value_repr().replace("set()", "{}")


def command_line() -> str:
    """Describe every command by its own help."""
    lines = [NOTICE, "# The command line", ""]
    lines += ["Every command takes `--help`; most take `--json` for programs.", ""]
    for path, command in _commands("himalia", root):
        context = click.Context(command, info_name=path, terminal_width=90, max_content_width=90)
        lines += [f"## {path}", "", "```text", command.get_help(context), "```", ""]
    return "\n".join(lines)


def _commands(path: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from _commands(f"{path} {name}", child)


def kinds() -> str:
    """Describe what each kind's spec takes."""
    lines = [NOTICE, "# Kinds of workloads", ""]
    about = _field_texts()
    for kind in load_kinds().values():
        schema = kind.spec_type.model_json_schema(mode="validation")
        lines += [f"## {kind.name}", "", _first(kind.spec_type), ""]
        lines += [f"REST: `/himalia/api/{kind.collection}`. The fields of its `spec`:", ""]
        lines += _fields(kind.spec_type.__name__, schema, about)
        example = kind.example.model_dump_json(indent=2, exclude_defaults=True)
        lines += ["", "An example:", "", "```json", example, "```"]
        for name, part in sorted(schema.get("$defs", {}).items()):
            lines += ["", f"### {name}", "", *_model(name, part, about)]
    return "\n".join(lines) + "\n"


def rest() -> str:
    """Describe every route, model and error of the OpenAPI document."""
    made = document(load_kinds().values(), more=admin_table())
    schemas: Json = made["components"]["schemas"]
    about = _field_texts()
    lines = [NOTICE, "# REST", "", made["info"]["description"], ""]
    lines += ["The same as OpenAPI 3.1: `GET /himalia/api/openapi.json`. A hub's control serves"]
    lines += ["it below `/services/himalia/api`; what begins with `/admin` is there alone.", ""]
    lines += ["## Routes", "", *_head("Route", "What it does", "Takes", "Gives", "Errors")]
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            lines.append(_route(f"{method.upper()} {path}", operation))
    lines += ["", "## Errors", "", *_head("Name", "`code` and meaning")]
    lines += [
        _row(name, text["description"])
        for name, text in sorted(made["components"]["responses"].items())
    ]
    lines += ["", "## Models"]
    for name, schema in sorted(schemas.items()):
        lines += ["", f"### {name}", "", *_model(name, schema, about)]
    return "\n".join(lines) + "\n"


def _route(address: str, operation: Json) -> str:
    takes = [
        f"`{parameter['name']}`"
        for parameter in operation.get("parameters", ())
        if parameter["in"] != "path"
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    if body:
        takes.insert(0, _type(body["schema"]))
    gives, errors = [], []
    for code, answer in operation["responses"].items():
        if "$ref" in answer:
            errors.append(answer["$ref"].rpartition("/")[2])
            continue
        content = next(iter(answer.get("content", {}).items()), ("", {}))
        shape = _type(content[1]["schema"]) if content[1].get("schema") else content[0]
        gives.append(f"{code} {shape}".strip())
    return _row(
        f"`{address}`",
        operation["summary"],
        ", ".join(takes),
        ", ".join(gives),
        ", ".join(sorted(errors)),
    )


def helm() -> str:
    """Describe every value of the chart by its schema."""
    chart = HERE.parent / "helm" / "himalia"
    schema = json.loads((chart / "values.schema.json").read_text())
    defaults = yaml.safe_load((chart / "values.yaml").read_text())
    lines = [NOTICE, "# Values of the chart", ""]
    lines += [
        "For `helm install --values FILE himalia helm/himalia`; unknown names are refused.",
        "",
    ]
    for name, part in schema["properties"].items():
        if "properties" in part:
            lines += [f"## {name}", "", part["description"], ""]
        else:
            lines += [f"## {name}", ""]
        lines += _head("Name", "Type", "Default", "Meaning")
        lines += [*_values(name, part, defaults.get(name), schema), ""]
    return "\n".join(lines[:-1]) + "\n"


def _values(path: str, schema: Json, default: Any, root: Json) -> Iterator[str]:
    """Yield a row for each value that can be set at or below a path."""
    if not schema.get("properties"):
        yield _row(f"`{path}`", _type(schema), f"`{_json(default)}`", schema["description"])
    for name, part in schema.get("properties", {}).items():
        inner = default.get(name) if isinstance(default, dict) else None
        yield from _values(f"{path}.{name}", _resolved(part, root), inner, root)


def _resolved(schema: Json, root: Json) -> Json:
    name = schema.get("$ref", "").rpartition("/")[2]
    return root["$defs"][name] if name else schema


def _model(name: str, schema: Json, about: dict[tuple[str, str], str]) -> list[str]:
    text = " ".join(schema.get("description", "").split())
    lines = [text, ""] if text else []
    if "enum" in schema:
        return [*lines, "One of " + ", ".join(f"`{value}`" for value in schema["enum"]) + "."]
    return [*lines, *_fields(name, schema, about)]


def _fields(name: str, schema: Json, about: dict[tuple[str, str], str]) -> list[str]:
    lines = _head("Field", "Type", "Default", "Meaning")
    required = schema.get("required", ())
    for field, part in schema.get("properties", {}).items():
        # An empty object is made anew each time, so the schema does not name it.
        empty = {} if part.get("type") == "object" else None
        default = "" if field in required else f"`{_json(part.get('default', empty))}`"
        lines.append(_row(f"`{field}`", _type(part), default, about.get((name, field), "")))
    return lines


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _type(schema: Json) -> str:
    """Say in a few words what a schema accepts."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(_type(choice) for choice in schema[word]))
    if "const" in schema or "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    kind = schema.get("type", "any JSON")
    if isinstance(kind, list):
        return " or ".join(_type({**schema, "type": one}) for one in kind if one != "null")
    if kind == "array" and "items" in schema:
        return f"list of {_type(schema['items'])}"
    return "time" if schema.get("format") == "date-time" else str(kind)


def _field_texts() -> dict[tuple[str, str], str]:
    """Return the texts below fields, by the name of the schema and of the field."""
    found: dict[tuple[str, str], str] = {}
    package = Path(himalia.__file__).parent
    for part in ("core", "kinds", "handlers", "control"):
        for path in sorted((package / part).glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    found |= {(node.name, field): text for field, text in _texts(node)}
    for kind in load_kinds().values():
        title = kind.name.capitalize()
        made = {
            title: "Workload",
            f"{title}Draft": "WorkloadDraft",
            f"{title}Patch": "WorkloadPatch",
        }
        for name, base in {**made, kind.spec_type.__name__: "Spec"}.items():
            texts = {(name, field): text for (of, field), text in found.items() if of == base}
            found = texts | found
    return found


def _texts(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for one, after in zip(node.body, node.body[1:], strict=False):
        if (
            isinstance(one, ast.AnnAssign)
            and isinstance(one.target, ast.Name)
            and isinstance(after, ast.Expr)
            and isinstance(after.value, ast.Constant)
        ):
            yield one.target.id, " ".join(str(after.value.value).split()).replace("``", "`")


def _first(model: type[BaseModel]) -> str:
    return textwrap.dedent(model.__doc__ or "").strip()


def _head(*cells: str) -> list[str]:
    return [_row(*cells), _row(*("---" for _ in cells))]


def _row(*cells: str) -> str:
    texts = (" ".join(cell.split()).replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(texts) + " |"


PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": command_line,
    "helm.md": helm,
    "hub.md": hub,
    "kinds.md": kinds,
    "rest.md": rest,
    "settings.md": settings,
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / "reference" / name).write_text(page())


if __name__ == "__main__":
    main()
