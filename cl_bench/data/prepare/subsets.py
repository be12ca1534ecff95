"""Cuts small subsets out of PASCAL VOC 2012, COCO 2017 and Imagenette, the same ones on every machine."""

from __future__ import annotations

import json
from pathlib import Path

from cl_bench.data.prepare.fetch import Progress, quiet
from cl_bench.data.prepare.recipes import RECIPES, SALT, Job, Sources
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.utils.files import whole_folder, write_whole
from cl_bench.utils.hashing import file_hash

MANIFEST = "MANIFEST.json"


def prepare(
    name: str,
    destination: Path,
    *,
    sources: Sources | None = None,
    progress: Progress | None = None,
    train: int = 240,
    val: int = 60,
    test: int | None = None,
) -> Path:
    """Download what the data set `name` is made of and write it to `destination/name`; return that folder.

    name: mini_voc_seg, mini_coco_det or imagenette_160. train, val, test: images of each split; for test, 0 is none and
    None what the recipe has (600, 430, 300). Train and val are the same whatever test is. progress: told (what, done,
    total). The images are a function of the sources alone; no two are byte-identical. The folder appears whole, with
    a MANIFEST.json of all files' SHA-256, or not at all; where it is there already, nothing is done but to say so.
    Downloads stay in `paths.cache_root()/"downloads"`. Raises UserError where a download fails, an archive is damaged,
    the disk is full, the images do not suffice, or `destination/name` holds something else.
    """
    if name not in RECIPES:
        raise unknown_name_error("data set", name, RECIPES)
    recipe, progress = RECIPES[name], progress or quiet
    test = recipe.test if test is None else test
    target = destination / name
    if (target / MANIFEST).is_file():
        lacks = test > 0 and not (target / "test").is_dir()
        hint = ", without a test part: move it away and prepare it again to get one" if lacks else ""
        progress(f"{name} is already in {target}{hint}", 1, 1)
        return target
    if target.exists():
        raise UserError(f"{target} exists but was not made by this command (it has no {MANIFEST}): move it away first")
    # Val before train, so that an image which is in both is dropped from train; test takes of what is left.
    sizes = {"val": val, "train": train, **({"test": test} if test else {})}
    with whole_folder(target) as made:
        job = Job(sources or Sources(), sizes, made, progress)
        recipe.write(job)
        _write_manifest(job)
    return target


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
