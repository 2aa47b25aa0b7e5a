"""Writing outputs to disk: their names come from elsewhere and may be hostile."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path, PurePosixPath
from typing import Any, cast

from himalia.core.errors import InvalidInput
from himalia.core.service import OpenOutput


def target(folder: Path, name: str) -> Path:
    """Return where the output `name` belongs below `folder`, with its parents made.

    :raises InvalidInput: the name would lead out of `folder`, or through a link.
    """
    parts = PurePosixPath(name).parts
    if not parts or any(part in {"/", "..", "."} or "\\" in part or "\0" in part for part in parts):
        raise InvalidInput.of("name", f"{name!r} is not a name that can be saved below a folder")
    place = folder
    place.mkdir(parents=True, exist_ok=True)
    for part in parts[:-1]:
        place /= part
        if place.is_symlink():
            raise InvalidInput.of("name", f"{place} is a link; choose another folder")
        place.mkdir(exist_ok=True)
    return place / parts[-1]


async def save(opened: OpenOutput, folder: Path, name: str) -> Path:
    """Write an output below `folder`: completely, or not at all."""
    final = await asyncio.to_thread(target, folder, name)
    partial = final.with_name(f".{final.name[:100]}.{secrets.token_hex(6)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(partial, flags, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            async for chunk in opened.chunks:
                await asyncio.to_thread(file.write, chunk)
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        await asyncio.to_thread(partial.replace, final)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        await cast("Any", opened.chunks).aclose()
    return final
