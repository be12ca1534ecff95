"""How a set's files are read: kept by their hashes, part of its fingerprint where it changed pixels, and told of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from cl_bench.data import index
from cl_bench.data.images import Reading, reading
from cl_bench.data.modes import DEEP
from cl_bench.errors import UserError

SCHEMA = 1
"""To be raised when a file is read in another way."""

TURNED = ".made-upright"
"""Ends the name, before the file's ending, of a mask in the cache that was brought upright when it was made."""


def readings(paths: Sequence[Path], hashes: Sequence[str]) -> list[Reading]:
    """Return how each file is read; a file that cannot be is plain here, as whoever decodes it says what is wrong.

    hashes: those of the files' bytes; equal ones in one folder are opened once.
    """
    digests, found = dict(zip(paths, hashes, strict=True)), dict[str, Reading]()
    for folder, inside in index.by_folder(paths).items():
        kept = index.read("readings", SCHEMA, folder)
        if not all(list(map(type, values)) in ([], [int, str, int]) for values in kept.values()):
            kept = {}
        known = {digest: Reading(*values) for digest, values in kept.items()}
        missing = {digests[path]: path for path in inside if digests[path] not in known}
        for digest, path in missing.items():
            try:
                known[digest] = reading(path)
            except UserError:
                known[digest] = Reading()
            kept[digest] = [] if known[digest] == Reading() else list(astuple(known[digest]))
        if missing:
            index.write("readings", SCHEMA, folder, kept)
        found |= known
    return [found[digest] for digest in hashes]


def identity(one: Reading, mask: bool = False) -> list[Any]:
    """Return what a fingerprint holds beside a file's bytes: nothing where its pixels are taken as they are stored."""
    made = one.mode if one.mode in ("deep", "transparent") and not mask else ""
    return [one.orientation, made] if made or one.orientation != 1 else []


def told(found: Sequence[Reading]) -> list[str]:
    """Return a sentence for every way in which images are read other than as they are stored."""
    deep = [one.largest for one in found if one.mode == "deep"]
    counts = {
        "images are turned upright, as their EXIF orientation says": sum(one.orientation != 1 for one in found),
        f"images are 16-bit grey, scaled from 0..{DEEP} to 8 bits; their largest value is {max(deep, default=0)}": len(
            deep
        ),
        "images are transparent in places and laid on white": sum(one.mode == "transparent" for one in found),
        "images are CMYK, converted without their colour profile": sum(one.mode == "CMYK" for one in found),
    }
    return [f"{count} {text}" for text, count in counts.items() if count]
