"""Write what an image is made of, as CycloneDX, to /usr/share/doc/himalia/sbom.cdx.json.

It runs while the image is built, with the Python of that image and nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

TARGET = Path("/usr/share/doc/himalia/sbom.cdx.json")

Json = dict[str, Any]


def python_packages(path: Sequence[str] | None = None) -> Iterator[Json]:
    """Yield the distributions that Python finds."""
    found = metadata.distributions(path=list(path)) if path else metadata.distributions()
    for one in found:
        name = one.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        yield _library("pypi", name, one.version, one.metadata.json.get("license_expression"))


def node_packages(folder: Path) -> Iterator[Json]:
    """Yield the packages below a ``node_modules``, at any depth."""
    for path in folder.rglob("package.json"):
        parent = path.parent.parent
        if "node_modules" not in {parent.name, parent.parent.name}:
            continue
        told = json.loads(path.read_text())
        if "name" in told and "version" in told:
            yield _library("npm", told["name"], told["version"], told.get("license"))


def debian_packages() -> Iterator[Json]:
    """Yield the packages of the operating system."""
    form = "${Package}\t${Version}\t${Architecture}\n"
    listed = subprocess.run(
        ["dpkg-query", "--show", f"--showformat={form}"],
        capture_output=True,
        text=True,
        check=True,
    )
    for line in listed.stdout.splitlines():
        name, version, architecture = line.split("\t")
        purl = f"pkg:deb/debian/{name}@{quote(version, safe='')}?arch={architecture}"
        yield {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def binary(name: str, path: Path) -> Json:
    """Describe a program by its digest, and by what it says of its version."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "type": "application",
        "name": name,
        "version": said.stdout.strip().removeprefix("v"),
        "bom-ref": f"{name}@{content}",
        "hashes": [{"alg": "SHA-256", "content": content}],
    }


def document(name: str, components: list[Json]) -> Json:
    """Return the same document for the same components, whenever it is made."""
    unique = {one["bom-ref"]: one for one in components}
    ordered = [unique[key] for key in sorted(unique)]
    made = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH") or 0), UTC)
    told = json.dumps([name, ordered], sort_keys=True)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, told)}",
        "version": 1,
        "metadata": {
            "timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "container", "name": name, "bom-ref": name},
        },
        "components": ordered,
    }


def _library(kind: str, name: str, version: str, licence: object) -> Json:
    purl = f"pkg:{kind}/{quote(name)}@{quote(version, safe='')}"
    made: Json = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": purl,
        "bom-ref": purl,
    }
    return made | ({"licenses": [{"expression": licence}]} if isinstance(licence, str) else {})


def main() -> None:
    """Write the document of this image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--node", type=Path, help="a node_modules")
    parser.add_argument("--binary", default="", metavar="NAME=PATH")
    given = parser.parse_args()
    components = [*python_packages(), *debian_packages()]
    if given.node:
        components += node_packages(given.node)
    if given.binary:
        name, _, path = given.binary.partition("=")
        components.append(binary(name, Path(path)))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(document(given.name, components), indent=1) + "\n")


if __name__ == "__main__":
    main()
