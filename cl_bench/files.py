"""Files that are whole, old or new, at any moment, and what their bytes are known by."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cl_bench.errors import UserError
from cl_bench.paths import make_writable


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that becomes `path`, whole, at the end; nothing is left of it after an exception.

    Raises UserError where it cannot be written.
    """
    try:
        no_file = not path.name or path.is_dir()
    except (OSError, ValueError) as error:  # a name that no file system takes
        raise UserError(f"cannot write {str(path)!r}: {error}") from error
    if no_file:
        raise UserError(f"cannot write {path}: it is no file")
    make_writable(path.parent)
    if path.exists() and not path.is_file():  # a pipe or a device, which must not become a file
        with path.open("wb") as file:
            yield file
        return
    path = path.resolve()  # a link stays one
    draft = path.with_name(f".{path.stem}-{uuid.uuid4().hex}")  # not tempfile's, which others may not read
    try:
        try:
            with draft.open("xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def write_whole(path: Path, content: bytes) -> Path:
    """Write `content` as `replacing` does; return `path`."""
    with replacing(path) as file:
        file.write(content)
    return path


def sync(path: Path) -> None:
    """Let a file or folder survive a power cut from here on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(2**20):
            digest.update(block)
        return digest.hexdigest()
