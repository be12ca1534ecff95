"""Members of zip and tar archives of anyone, read without trusting their names or sizes."""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from cl_bench.errors import UserError
from cl_bench.utils.files import write_whole


@dataclass(frozen=True)
class Limits:
    """What an archive may declare at most, over all its members: a guard against bombs."""

    members: int = 200_000
    size: int = 8 << 30
    """Bytes after unpacking."""


_DAMAGED = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted member, or a compression that this Python lacks
    ValueError,  # a header that names no file
)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    folder: bool
    regular: bool
    open: Callable[[], IO[bytes] | None]


def read_members(
    archive: Path, wanted: Callable[[str], object], limits: Limits | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of the regular members of a tar or zip file for which `wanted` is true, in their order.

    Nothing is written. Raises UserError where any member, wanted or not, has an absolute path or one with "..", is a
    link or a device, where the archive goes beyond `limits` (default: `Limits()`), and where it is damaged.
    """
    limits = limits or Limits()
    count = size = 0
    try:
        for member in _members(archive):
            count, size = count + 1, size + max(member.size, 0)
            if count > limits.members or size > limits.size:
                most = f"{limits.members} members or {limits.size} bytes"
                raise UserError(f"archive {archive} is cut short, or holds more than {most}: refused")
            name = _safe_name(archive, member)
            if member.regular and wanted(name):
                source = member.open()
                if source is not None:
                    with source:
                        yield name, source.read()
    except _DAMAGED as error:
        raise UserError(f"archive {archive} is damaged or unreadable: {error}") from error


def read_all(archive: Path, wanted: Collection[str], limits: Limits | None = None) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of every `wanted` member; raise UserError as `read_members` does, and for a missing one."""
    missing = set(wanted)
    for name, content in read_members(archive, wanted.__contains__, limits):
        missing.discard(name)
        yield name, content
    if missing:
        raise UserError(f"archive {archive} has no {min(missing)} ({len(missing)} members are missing)")


def extract(archive: Path, wanted: Mapping[str, Path], limits: Limits | None = None) -> None:
    """Write every `wanted` member (name in the archive -> file to write); the archive never decides on a path.

    Raises UserError as `read_all` does, and where the disk refuses.
    """
    for name, content in read_all(archive, wanted, limits):
        write_whole(wanted[name], content)


def is_safe_path(name: str) -> bool:
    """Tell whether `name` stays inside the folder it is put in, read as a path of any system."""
    path = PureWindowsPath(name)  # takes both slashes, drive letters and shares
    return bool(name) and not path.anchor and ".." not in path.parts


def _safe_name(archive: Path, member: _Member) -> str:
    if not is_safe_path(member.name):
        raise UserError(f"archive {archive} holds the unsafe path {member.name!r}: refused")
    if not (member.folder or member.regular):
        raise UserError(f"archive {archive} holds {member.name!r}, a link or a device: refused")
    return str(PurePosixPath(member.name))


def _members(archive: Path) -> Iterator[_Member]:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as bundle:
            for info in bundle.infolist():
                kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the archive was made without modes
                regular = kind in (0, stat.S_IFREG) and not info.is_dir()
                yield _Member(info.filename, info.file_size, info.is_dir(), regular, partial(bundle.open, info))
        return
    with tarfile.open(archive) as tar:
        for entry in tar:
            yield _Member(entry.name, entry.size, entry.isdir(), entry.isreg(), partial(tar.extractfile, entry))
