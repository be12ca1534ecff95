"""What is computed from image files once: their hashes, and the files decoded and resized."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import PIL

from cl_bench.data import index
from cl_bench.data.base import Boxes, Split
from cl_bench.data.readings import identity, readings
from cl_bench.errors import UserError
from cl_bench.utils.files import replacing
from cl_bench.utils.hashing import file_hash
from cl_bench.utils.paths import cache_root

VERSION = 2
"""To be raised when what is cached, or how, changes."""

SCHEMA = 2
"""To be raised when the index of hashes changes its form."""

DEFAULT_LIMIT_MB = 8192

SETTLED_NS = 2_000_000_000
"""A file changed less than this ago may change again within one tick of its time stamp, so its hash is not kept."""

Decoder = Callable[[Path, int], npt.NDArray[np.uint8]]


class Images(Protocol):
    """Decoded files in order; `[i]` is a uint8 array of the caller's own."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]: ...


class _Decoded:
    """Decodes at each access."""

    def __init__(self, paths: Sequence[Path], size: int, decode: Decoder) -> None:
        self._paths, self._size, self._decode = tuple(paths), size, decode

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        return np.array(self._decode(self._paths[index], self._size))


class _Stored:
    """Reads a memory-mapped .npy file with its hash behind it; OSError or ValueError where it is not what was written.

    checked: whether it has been looked at in this process, or one that handed it on.
    """

    def __init__(self, path: Path, count: int, size: int, checked: bool = False) -> None:
        self._file = path, count, size, True
        array = np.lib.format.open_memmap(path, mode="r")  # never unpickles
        if array.dtype != np.uint8 or array.shape[:3] != (count, size, size):
            raise ValueError(f"{path} holds {array.dtype} {array.shape}")
        end = array.offset + array.nbytes
        if path.stat().st_size != end + hashlib.sha256().digest_size:
            raise ValueError(f"{path} has the wrong length")
        if not checked:
            with path.open("rb") as file:
                file.seek(end)
                if file.read() != hashlib.sha256(array.data).digest():
                    raise ValueError(f"{path} is not what was written")
        self._array = array

    def __reduce__(self) -> tuple[Any, ...]:
        return _Stored, self._file  # a memory map would be copied as a whole into a pickle or a deep copy

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: int) -> npt.NDArray[np.uint8]:
        return np.array(self._array[index])


def resized(key: str, paths: Sequence[Path], size: int, decode: Decoder, limit_bytes: int | None = None) -> Images:
    """Return the files of `paths` as `decode(path, size)` gives them, (size, size, ...) uint8 each, decoded only once.

    key: a fingerprint of the contents of `paths`; limit_bytes: where all of them together need more, each is decoded
    when it is asked for (default: CL_BENCH_CACHE_LIMIT_MB, else 8192 MB). Raises UserError for a file that cannot be
    decoded and a cache that cannot be written. Safe while other processes do the same.
    """
    decoded = _Decoded(paths, size, decode)
    if not paths:
        return decoded
    identity = [VERSION, PIL.__version__, key, len(paths), size, f"{decode.__module__}.{decode.__qualname__}"]
    place = cache_root() / "images" / f"{hashlib.sha256(json.dumps(identity).encode()).hexdigest()}.npy"
    try:
        return _Stored(place, len(paths), size)
    except (OSError, ValueError):  # not there yet, or torn
        pass
    first = decoded[0]
    if first.nbytes * len(paths) > (_limit() if limit_bytes is None else limit_bytes):
        return decoded
    with replacing(place) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(paths), *first.shape)}
        np.lib.format.write_array_header_1_0(file, header)
        content = hashlib.sha256()
        for number in range(len(paths)):
            image = np.ascontiguousarray(decoded[number]).data
            file.write(image)
            content.update(image)
        file.write(content.digest())
    return _Stored(place, len(paths), size)


def _limit() -> int:
    text = os.environ.get("CL_BENCH_CACHE_LIMIT_MB") or str(DEFAULT_LIMIT_MB)
    if not text.isdecimal():
        raise UserError(f"CL_BENCH_CACHE_LIMIT_MB must be a whole number of megabytes, not {text!r}")
    return int(text) * 2**20


def file_hashes(paths: Sequence[Path]) -> list[str]:
    """Return the SHA-256 of each file's bytes in hexadecimal.

    A file whose path, times of change and size are those of an earlier call is not read again. Raises UserError
    naming a file that cannot be read.
    """
    found: dict[Path, str] = {}
    for folder, inside in index.by_folder(paths).items():
        known, changed = index.read("hashes", SCHEMA, folder), False
        for path in inside:
            try:
                stat = path.stat()
                # The second, which nobody can set, tells of files that were put in another's place with its time.
                state = [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size]
                entry = known.get(path.name, [])
                if entry[:-1] != state or not isinstance(entry[-1], str):
                    entry = [*state, file_hash(path)]
                    if time.time_ns() - max(stat.st_mtime_ns, stat.st_ctime_ns) > SETTLED_NS:
                        known[path.name], changed = entry, True
            except OSError as error:
                raise UserError(f"file {path} cannot be read: {error.strerror}") from error
            found[path] = entry[-1]
        if changed:
            index.write("hashes", SCHEMA, folder, known)
    return [found[path] for path in paths]


def fingerprint(split: Split) -> str:
    """Return a SHA-256 over classes, names, image bytes and targets, wherever the files lie.

    Files that are turned, scaled or laid on white are marked, so that none is taken for what it was before. Targets: a
    mask's bytes, boxes with labels and crowd flags, a class index, or any other JSON value.
    """
    masks = [example.target for example in split.examples if isinstance(example.target, Path)]
    paths = [*(example.image for example in split.examples), *masks]
    hashes, count = file_hashes(paths), len(split.examples)
    read = [identity(one, mask=place >= count) for place, one in enumerate(readings(paths, hashes))]
    targets = iter(zip(hashes[count:], read[count:], strict=True))
    rows = []
    for example, image, made in zip(split.examples, hashes, read, strict=False):
        target, turned = next(targets) if isinstance(example.target, Path) else (_identity(example.target), [])
        rows.append([example.name, image, target, *([made, turned] if made or turned else [])])
    try:
        content = json.dumps([split.classes, rows])
    except TypeError as error:
        raise UserError(
            f"a target of {split.examples[0].name} and its like cannot be fingerprinted: {error}"
        ) from error
    return hashlib.sha256(content.encode()).hexdigest()


def _identity(target: Any) -> Any:
    if isinstance(target, Boxes):
        return [target.xyxy.tolist(), target.labels.tolist(), target.crowd.tolist()]
    return int(target) if isinstance(target, np.integer) else target
