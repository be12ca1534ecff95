"""Files and folders that are whole, old or new, at any moment."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cl_bench.errors import UserError


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
    try:
        if path.exists() and not path.is_file():  # a pipe or a device, which must not become a file
            with path.open("wb") as file:
                yield file
            return
        make_writable(path.parent)
        path = path.resolve()  # a link stays one
        draft = path.with_name(f".{path.stem}-{uuid.uuid4().hex}")  # not tempfile's, which others may not read
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


@contextmanager
def whole_folder(path: Path, shared: bool = False) -> Iterator[Path]:
    """Yield an empty folder that becomes `path`, whole, at the end; nothing is left of it after an exception.

    shared: where another process was first, its folder stays, which holds the same. Raises UserError where the disk
    refuses, and where `path` has come to be there meanwhile and is not shared.
    """
    parent = make_writable(path.absolute().parent)
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=f".{path.name}-") as temporary:
            draft = Path(temporary) / path.name  # not the temporary one, which others may not read
            draft.mkdir()
            yield draft
            # Else a power cut after the renaming could leave empty files. A disk takes many at once for little more.
            with ThreadPoolExecutor(16) as pool:
                list(pool.map(sync, draft.rglob("*")))
            try:
                draft.rename(path)
            except OSError:
                if not (shared and path.is_dir()):
                    raise
    except OSError as error:
        raise UserError(f"cannot write to {parent}: {error.strerror or error}") from error


def sync(path: Path) -> None:
    """Let a file or folder survive a power cut from here on."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_writable(folder: Path) -> Path:
    """Create `folder` and return it; raise `UserError` where it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):  # nameless or uniquely named: two that ask at once do not meet
            pass
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
    return folder
