"""Where COCO itself and the tools that export its JSON put the file of boxes and the images of a split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cl_bench.data.formats.texts import exists_as_file
from cl_bench.data.layouts import ALL, NAMES, to_try
from cl_bench.errors import UserError, unknown_name_error

KEYS = ("annotations", "images")
"""What the data of a task may say beside `path`, each by split."""

CURE = "; `annotations: {train: FILE, ...}` and `images: {train: FOLDER, ...}` name others"


@dataclass(frozen=True)
class Place:
    """The file of boxes of a split, and the folders that its images may lie in; the first that holds one counts."""

    file: Path
    folders: tuple[Path, ...]
    tool: str

    def folder(self, names: Iterable[PurePosixPath]) -> Path:
        """Return the folder that holds the first of `names`, else the first that is there, else the first."""
        first = next(iter(names), None)
        holding = (one for one in self.folders if first is not None and exists_as_file(one / first))
        there = (one for one in self.folders if one.is_dir())
        return next(holding, None) or next(there, self.folders[0])


def named(root: Path, split: str, options: Mapping[str, Any]) -> Place | None:
    """Return the place of `split` that `options` name, None where they name none; raise UserError for a broken one."""
    for key in KEYS:
        _check(key, options.get(key, {}))
    file = options.get("annotations", {}).get(split)
    if file is None and not options.get("annotations"):
        found, images = locate(root, split), options.get("images", {}).get(split)
        return Place(found.file, (root / images,), found.tool) if found and images is not None else None
    if file is None:
        if split == "test":
            return None
        raise UserError(f"`annotations` in the data of format coco has no {split}, only {_listed(options)}")
    images = options.get("images", {}).get(split)
    folders = (root / images,) if images is not None else ((root / file).parent, root, root / "images")
    if not exists_as_file(root / file):
        raise UserError(f"{root / file}, which `annotations` in the data of format coco names for {split}, is no file")
    return Place(root / file, folders, file)


def _listed(options: Mapping[str, Any]) -> str:
    return ", ".join(options["annotations"])


def _check(key: str, value: Any) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(one, str) and one for one in value.values()):
        raise UserError(f"`{key}` in the data of format coco must say by split where: {{train: ...}}, not {value!r}")
    for split in value:
        if split not in NAMES:
            raise unknown_name_error(f"split in `{key}` of the data of format coco", str(split), NAMES)


def locate(root: Path, split: str) -> Place | None:
    """Return the first place whose file is there."""
    return next((place for place in _places(root, split) if place.file.is_file()), None)


def _places(root: Path, split: str) -> Iterator[Place]:
    if split == ALL:
        yield Place(root / "labels.json", (root / "data",), "labels.json with data/ (FiftyOne)")
        yield Place(root / "_annotations.coco.json", (root,), "_annotations.coco.json among the images (Roboflow)")
        images: tuple[Path, ...] = (root / "images" / "default", root / "images")
        yield Place(root / "annotations" / "instances_default.json", images, "instances_default.json (CVAT)")
        yield Place(root / "result.json", (root, root / "images"), "result.json (Label Studio)")
        return
    for name in _words(root, split):
        part = root / name
        yield Place(part / "labels.json", (part / "data",), "a labels.json with data/ a split (FiftyOne)")
        yield Place(root / "annotations" / f"instances_{name}2017.json", (root / f"{name}2017",), "COCO's own folders")
        yield Place(part / "_annotations.coco.json", (part,), "_annotations.coco.json among the images (Roboflow)")
        yield Place(part / "result.json", (part, part / "images"), "a result.json a split (Label Studio)")
        images = (root / "images" / name, root / "images", part, root)
        yield Place(root / "annotations" / f"instances_{name}.json", images, "an instances_*.json a split (CVAT)")
        one = part / "annotations" / "instances_default.json"
        yield Place(one, (part / "images" / "default", part / "images"), "a CVAT export a split")


def _words(root: Path, split: str) -> list[str]:
    """Return what `split` may be called: its usual names, then those that folders and files there have for it."""
    there = {path.name for path in root.iterdir() if path.is_dir()}
    files = (root / "annotations").glob("instances_*.json")
    there |= {path.stem.removeprefix("instances_").removesuffix("2017") for path in files}
    return to_try(split, there)


def relative(name: str) -> PurePosixPath:
    """Return a `file_name` as a path; tools on Windows write it with backslashes."""
    return PurePosixPath(name.replace("\\", "/"))
