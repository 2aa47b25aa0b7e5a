"""Build the images and push them: ``make images``. An image whose inputs are unchanged stays.

Its tag is the digest of all that it is built from, so the registry itself knows what is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BASE_IMAGE = "docker.io/library/python:3.11-slim-bookworm"
EPOCH = "1580601600"
"""Of every file in an image, so that the same inputs give the same image: as in our wheels."""
_MANIFESTS = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Image:
    """What one image is built from: names in its build context, and where they come from."""

    name: str
    inputs: dict[str, str] = field(default_factory=dict)

    def files(self) -> Iterator[tuple[str, Path]]:
        """Yield every file of the context with its name there, in order."""
        yield "Dockerfile", HERE / self.name / "Dockerfile"
        for name, where in sorted(self.inputs.items()):
            found = sorted(ROOT.glob(where))
            if not found:
                raise SystemExit(f"{where} is missing: it is built by `make images`.")
            if name == ".":  # as it is called
                yield from ((path.name, path) for path in found)
            elif found[0].is_dir():
                for path in sorted(found[0].rglob("*")):
                    if path.is_file() and "/." not in path.relative_to(ROOT).as_posix():
                        yield f"{name}/{path.relative_to(found[0]).as_posix()}", path
            else:
                yield name, found[0]

    def context(self, folder: Path) -> None:
        """Lay the build context out in a folder."""
        for name, path in self.files():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
            target.chmod(0o755 if os.access(path, os.X_OK) else 0o644)

    def digest(self, *more: str) -> str:
        """Return a digest of all inputs."""
        told = hashlib.sha256("\0".join(more).encode())
        for name, path in self.files():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            told.update(f"\0{name}\0{content}".encode())
        return told.hexdigest()[:16]


_ACCOUNT = {"account.sh": "images/account.sh", "sbom.py": "images/sbom.py"}
_PYTHON = _ACCOUNT | {
    "uv.txt": "requirements/uv.txt",
    "environment.sh": "images/environment.sh",
    "finish.sh": "images/finish.sh",
    ".": "dist/himalia-*.whl",
}
IMAGES = (
    Image("session", _PYTHON | {"lock.txt": "requirements/hub.txt"}),
    Image("control", _PYTHON | {"lock.txt": "requirements/cluster.txt"}),
    Image(
        "proxy",
        _ACCOUNT | {"node.txt": "requirements/node.txt", "node_modules": "hub/proxy/node_modules"},
    ),
    Image("database", _ACCOUNT | {"start.sh": "images/database/start.sh"}),
    Image("builder", _ACCOUNT),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Builder:
    """How images are built and pushed: by buildah, or by docker."""

    program: str
    registry: str
    base: str
    certificates: str
    """A bundle that package registries are checked with during the build, and never later."""

    def build(self, folder: Path, reference: str, inputs: str) -> None:
        """Build an image from a context whose digest is `inputs`."""
        wish = ["--file", str(folder / "Dockerfile"), "--tag", reference]
        wish += [
            "--build-arg",
            f"BASE_IMAGE={self.base}",
            "--build-arg",
            f"SOURCE_DATE_EPOCH={EPOCH}",
        ]
        wish += ["--build-arg", f"INPUTS={inputs}"]
        if self.certificates:
            wish += ["--secret", f"id=certificates,src={self.certificates}"]
        if self.program == "buildah":
            plain = [f"--tls-verify={str(not self._is_here(self.base)).lower()}"]
            wish += ["--layers", "--isolation", "chroot", "--network", "host", "--format", "docker"]
            _run("buildah", "build", *plain, "--timestamp", EPOCH, *wish, str(folder))
        else:
            exporter = f"type=image,name={reference},rewrite-timestamp=true,push=true"
            _run("docker", "buildx", "build", "--output", exporter, *wish, str(folder))

    def push(self, reference: str) -> None:
        """Push an image that was built."""
        if self.program == "buildah":
            plain = f"--tls-verify={str(not self._is_here(reference)).lower()}"
            _run("buildah", "push", plain, reference)

    def has(self, reference: str) -> str | None:
        """Return the digest of an image in a registry, if that tells everybody."""
        host, _, rest = reference.partition("/")
        path, _, tag = rest.rpartition(":")
        scheme = "http" if self._is_here(reference) else "https"
        asked = urllib.request.Request(
            f"{scheme}://{host}/v2/{path}/manifests/{tag}",
            headers={"Accept": ", ".join(_MANIFESTS)},
            method="HEAD",
        )
        try:
            with urllib.request.urlopen(asked, timeout=_SECONDS) as answer:
                return str(answer.headers["Docker-Content-Digest"])
        except (urllib.error.URLError, OSError):
            return None

    @staticmethod
    def _is_here(reference: str) -> bool:
        """Tell whether it is a registry of this machine, which has no TLS."""
        return reference.startswith(("127.0.0.1:", "localhost:"))


def _run(*words: str) -> None:
    done = subprocess.run(words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        sys.stderr.write(done.stdout.decode(errors="replace")[-8000:])
        raise SystemExit(f"{' '.join(words[:2])} failed with status {done.returncode}")


def make(image: Image, builder: Builder, tags: Sequence[str] = ()) -> str:
    """Return an image's address by digest; build and push what the registry does not have."""
    name = f"{builder.registry}/himalia-{image.name}"
    base = builder.has(builder.base) or ""
    inputs = image.digest(builder.base, base)
    reference = f"{name}:{inputs}"
    found = builder.has(reference)
    if found is None or tags:
        with tempfile.TemporaryDirectory(prefix="himalia-image-") as folder:
            image.context(Path(folder))
            for wanted in (reference, *(f"{name}:{tag}" for tag in tags)):
                builder.build(Path(folder), wanted, inputs)
                builder.push(wanted)
        found = builder.has(reference)
    sys.stderr.write(f"{reference}\n")
    return f"{name}@{found}" if found else reference


def main() -> None:
    """Build what is named, and write where it is to ``.venv/images.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--registry", required=True, help="as 127.0.0.1:5000 or ghcr.io/somebody")
    parser.add_argument("--base-image", default=BASE_IMAGE)
    parser.add_argument("--builder", choices=("buildah", "docker"))
    parser.add_argument("--certificates", default="", help="CA bundle of a proxy, for the build")
    parser.add_argument("--tag", action="append", default=[], help="besides the digest's")
    parser.add_argument("--out", type=Path, default=ROOT / ".venv" / "images.json")
    parser.add_argument("names", nargs="*", metavar="IMAGE", help=", ".join(i.name for i in IMAGES))
    given = parser.parse_args()
    program = given.builder or ("buildah" if shutil.which("buildah") else "docker")
    if shutil.which(program) is None:
        raise SystemExit(
            "Images are built by buildah or docker; on Debian: apt-get install buildah"
        )
    builder = Builder(
        program=program,
        registry=given.registry.rstrip("/"),
        base=given.base_image,
        certificates=given.certificates,
    )
    wanted = [one for one in IMAGES if not given.names or one.name in given.names]
    made = json.loads(given.out.read_text()) if given.out.exists() else {}
    for image in wanted:
        made[image.name] = make(image, builder, given.tag)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
