"""Cuts small subsets out of PASCAL VOC 2012, COCO 2017 and Imagenette, the same ones on every machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from cl_bench.data.prepare.fetch import Progress, quiet
from cl_bench.data.prepare.recipes import RECIPES, SALT, Job, Sources
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.utils.files import whole_folder, write_whole
from cl_bench.utils.hashing import file_hash

MANIFEST = "MANIFEST.json"
TRAIN, VAL = 240, 60


def prepare(
    name: str,
    destination: Path,
    *,
    sources: Sources | None = None,
    progress: Progress | None = None,
    train: int | None = None,
    val: int | None = None,
    test: int | None = None,
) -> Path:
    """Download what the data set `name` is made of and write it to `destination/name`; return that folder.

    name: mini_voc_seg, mini_coco_det or imagenette_160. train, val, test: images of each split; by default 240, 60
    and what the recipe has (600, 430, 300). test 0 is no test part. Train and val are the same whatever test is.
    progress: told (what, done, total). The images are a function of the sources alone; no two are byte-identical. The
    folder appears whole, with a MANIFEST.json of all files' SHA-256, or not at all; where it is there already, nothing
    is done but to say so. Downloads stay in `paths.cache_root()/"downloads"`. Raises UserError where a download fails,
    an archive is damaged, the disk is full, the images do not suffice, or `destination/name` holds something else or
    other numbers of images.
    """
    if name not in RECIPES:
        raise unknown_name_error("data set", name, RECIPES)
    recipe, progress = RECIPES[name], progress or quiet
    target = destination / name
    if (target / MANIFEST).is_file():
        found = _sizes(target)
        _refuse_other_sizes(target, found, {"train": train, "val": val, "test": test})
        lacks = test != 0 and not found["test"]
        hint = ", without a test part: move it away and prepare it again to get one" if lacks else ""
        progress(f"{name} is already in {target}{hint}", 1, 1)
        return target
    if target.exists():
        raise UserError(f"{target} exists but was not made by this command (it has no {MANIFEST}): move it away first")
    # Val before train, so that an image which is in both is dropped from train; test takes of what is left.
    wanted = {"val": VAL if val is None else val, "train": TRAIN if train is None else train}
    wanted |= {"test": size} if (size := recipe.test if test is None else test) else {}
    with whole_folder(target) as made:
        job = Job(sources or Sources(), wanted, made, progress)
        recipe.write(job)
        _write_manifest(job)
    return target


def _sizes(folder: Path) -> dict[str, int]:
    """Return how many images of each split the manifest of `folder` lists."""
    try:
        files = list(json.loads((folder / MANIFEST).read_bytes())["files"])
        images = [path for path in files if path.lower().endswith((".jpg", ".jpeg"))]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"{folder / MANIFEST} is damaged: move {folder} away, and prepare it again") from error
    return {split: sum(path.startswith(f"{split}/") for path in images) for split in ("train", "val", "test")}


def _refuse_other_sizes(folder: Path, found: Mapping[str, int], asked: Mapping[str, int | None]) -> None:
    others = {split: size for split, size in asked.items() if size not in (None, found[split])}
    if others:
        there = ", ".join(f"{split} {found[split]}" for split in others)
        wanted = ", ".join(f"{split} {size}" for split, size in others.items())
        raise UserError(f"{folder} has {there} images, not {wanted}: move it away, or prepare in another folder")


def _write_manifest(job: Job) -> None:
    files = {path.relative_to(job.folder).as_posix(): path for path in job.folder.rglob("*") if path.is_file()}
    content = {
        "schema": 1,
        "name": job.folder.name,
        "salt": SALT,
        "sources": job.origins,
        "files": {path: file_hash(files[path]) for path in sorted(files)},
    }
    write_whole(job.folder / MANIFEST, json.dumps(content, indent=1).encode())
