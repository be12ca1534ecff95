"""Fetches files so that a cut-off transfer goes on where it stopped."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock
from PIL import Image

from cl_bench.errors import UserError
from cl_bench.utils.hashing import file_hash

Progress = Callable[[str, int, int], None]
"""Told (what, done, total): bytes of a download (total 0 where the server does not say) or a number of images."""

Check = Callable[[Path], str | None]
"""Says in words what is wrong with a downloaded file; None where it is what it must be."""

ATTEMPTS = 5
BACKOFF_SECONDS = 1.0
"""Wait before the second attempt; it doubles with each further one."""
TIMEOUT_SECONDS = 30.0
"""Longest silence of a server."""
CHUNK_BYTES = 1 << 20
PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP answers that may differ when asked again."""


class _TransferError(Exception):
    """The network failed in a way that may pass."""


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing: the `Progress` of a caller who wants none."""


def has_md5(expected: str) -> Check:
    """Return the check that a file's MD5 (the checksum its publisher gives) is `expected`."""

    def check(path: Path) -> str | None:
        found = file_hash(path, "md5")
        return None if found == expected else f"its MD5 is {found} and not {expected}"

    return check


def has_size(width: int, height: int) -> Check:
    """Return the check that an image file decodes to its end and is `width` x `height` pixels."""

    def check(path: Path) -> str | None:
        try:
            with Image.open(path) as image:
                image.load()
                size = image.size
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            return f"it is not a whole image: {error}"
        return None if size == (width, height) else f"it is {size[0]}x{size[1]} pixels and not {width}x{height}"

    return check


def fetch(url: str, target: Path, check: Check, progress: Progress = quiet) -> Path:
    """Download `url` to `target` unless a file that passes `check` is there, and return `target`.

    What arrives is kept in `target` + ".part" until it is whole, so that the next attempt, or the next call, asks only
    for the rest; of two calls at once, one waits for the other. Raises UserError naming the address for a refusal, a
    dead network, a full disk and a failed check; after a failed check the partial file is gone.
    """
    part = target.with_name(target.name + ".part")
    try:
        if target.is_file() and check(target) is None:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not (target.is_file() and check(target) is None):  # another call may have been at it
                _fetch_whole(url, part, check, progress)
                part.replace(target)
    except OSError as error:
        raise UserError(f"cannot store {url} in {part}: {error.strerror or error}") from error
    return target


def _fetch_whole(url: str, part: Path, check: Check, progress: Progress) -> None:
    _transfer_patiently(url, part, progress)
    problem = check(part)
    if problem is not None:
        part.unlink()
        raise UserError(f"what came from {url} is not the expected file ({problem}); it was deleted, so try again")


def _transfer_patiently(url: str, part: Path, progress: Progress) -> None:
    problem = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF_SECONDS * 2 ** (attempt - 1))
        try:
            return _transfer(url, part, progress)
        except _TransferError as error:
            problem = str(error)
    raise UserError(f"cannot download {url} in {ATTEMPTS} attempts: {problem}")


def _transfer(url: str, part: Path, progress: Progress) -> None:
    done = part.stat().st_size if part.exists() else 0
    response = _ask(url, done)
    if response is None:
        return
    with response:
        if response.status != 206:  # the server sends all of it, whatever was asked for
            done = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            part.unlink(missing_ok=True)
            raise _TransferError("the server sent another range than it was asked for")
        total = done + int(response.headers.get("Content-Length") or 0)
        with part.open("ab" if done else "wb") as out:
            for chunk in _chunks(response):
                out.write(chunk)
                done += len(chunk)
                progress(f"download {file_name(url)}", done, total)
            out.flush()
            os.fsync(out.fileno())
    if done < total:
        raise _TransferError(f"the connection was cut after {done} of {total} bytes")


def file_name(url: str) -> str:
    """Return the name of the file at the end of an address."""
    return url.rstrip("/").rsplit("/", 1)[-1]


def _ask(url: str, start: int) -> http.client.HTTPResponse | None:
    """Return the open answer from byte `start` on; None where the server says that nothing follows."""
    headers = {"User-Agent": "cl_bench"} | ({"Range": f"bytes={start}-"} if start else {})
    try:
        response: http.client.HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS)
        return response
    except HTTPError as error:
        error.close()
        if error.code == 416 and start:  # the part is whole, or of another file: the check tells
            return None
        if error.code not in PASSING_STATUS:
            raise UserError(f"cannot download {url}: the server answered {error.code} {error.reason}") from error
        raise _TransferError(f"the server answered {error.code} {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(_reason(error)) from error
    except ValueError as error:
        raise UserError(f"{url!r} is not an address: {error}") from error


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """Yield what arrives; an error here is the network's, so that an OSError elsewhere is the disk's."""
    try:
        while chunk := response.read1(CHUNK_BYTES):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(_reason(error)) from error


def _reason(error: Exception) -> str:
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
