"""COCO detection: one JSON file of images, categories and boxes a split, where the tools that write it put them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from cl_bench.data.base import Example, Split
from cl_bench.data.formats.box_rows import SIZE_CURE, Labelled, image_notes
from cl_bench.data.formats.box_tally import Tally
from cl_bench.data.formats.coco_places import CURE, KEYS, Place, locate, named, relative
from cl_bench.data.formats.reading import IMAGE_SUFFIXES, chosen, data_folder, files_below, missing, ordered
from cl_bench.data.formats.texts import exists_as_file
from cl_bench.data.images import image_size
from cl_bench.data.layouts import NAMES, Layout, parts, refuse
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.registry import formats

SHAPE = "a bbox is left, top, width, height in pixels of the image"

IMAGES_CURE = "`images: {train: FOLDER, ...}` in the data names the folders of the images"

T = TypeVar("T")


@formats.register
class Coco:
    """COCO's own folders, or an export of Roboflow, CVAT, Label Studio or FiftyOne (`coco_places`).

    `annotations` and `images` name the file and the folder of each split, below `path`, where they lie elsewhere.
    """

    name = "coco"
    kinds: tuple[str, ...] = ("detection",)

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; each target is the `Boxes` of the classes asked for, by default all of the file, sorted.

        Category ids are mapped by name, as they differ between files. Rows that exports leave behind (boxes without
        area or outside their images, of images that are not listed, doubled categories without boxes) are dropped and
        counted in the notes; boxes that reach out of their images are clipped. Raises UserError, naming the file and
        the image or the annotation, for whatever else is broken; boxes of classes not asked for are not looked at.
        """
        root = data_folder(self, options, kind, KEYS)
        place = named(root, split, options) or locate(root, split)
        if place is None:
            official = f"annotations/instances_{split}2017.json"
            raise missing(f"{root / split / 'labels.json'} (nor {official} of an official COCO folder{CURE})", options)
        file, content = place.file, _load(place.file)
        categories, doubled = _categories(file, content)
        names = chosen(classes, lambda: _own(content, categories))
        for name in names:
            # A tool lists in val or test what these show, which may be less than all.
            if name not in categories and split not in ("val", "test"):
                raise unknown_name_error(f"class for the categories of {file}:", name, categories)
        images, notes = _images(place, content)
        if not options.get("annotations"):
            notes += _unlisted(root, split, place, content, images)
        labels = {categories[name]: label for label, name in enumerate(names) if name in categories}
        tally = _add_boxes(file, content, images, labels, set(categories.values()))
        examples = ordered((Example(image.name, image.path, image.boxes()) for image in images.values()), file)
        ids = ", ".join(f"{name} {categories[name]}" for name in names if name in categories)
        mapped = f"category ids of {file.name}, mapped by name: {ids}"
        said = (*doubled, *notes, *tally.notes(), *image_notes(list(images.values()), "crowds"))
        return Split(names, examples, said, (mapped,))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether there is a file of test boxes: COCO's own test images, and those of some tools, have none."""
        root = data_folder(self, options, kind, KEYS)
        place = named(root, "test", options) or locate(root, "test")
        told = any("test" in options.get(key, {}) for key in KEYS)
        return place is not None and (told or _labelled(place))

    def layouts(self, root: Path) -> Iterator[Layout]:
        """Yield what of COCO's and its tools' layouts `root` has."""
        there = {split: place for split in NAMES if (place := locate(root, split))}
        if "test" in there and not _labelled(there["test"]):
            del there["test"]
        if splits := parts(there):
            yield Layout("detection", splits, there[splits[0]].tool)


def _labelled(place: Place) -> bool:
    """Return whether the file has boxes, or is broken, which is told where it is read."""
    try:
        content = _load(place.file)
    except UserError:
        return True
    return content.get("annotations", []) != [] or not isinstance(content.get("images"), list) or not content["images"]


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{file} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{file} must hold a JSON object with images, annotations and categories")
    return content


def _get(row: Any, key: str, kind: type[T], where: str) -> T:
    value = row.get(key) if isinstance(row, dict) else None
    if not isinstance(value, kind) or isinstance(value, bool):
        raise UserError(f"{where}: {key} must be {'a whole number' if kind is int else 'a text'}, not {value!r}")
    return value


def _by_id(file: Path, content: dict[str, Any], table: str) -> dict[int, Any]:
    rows = content.get(table)
    if not isinstance(rows, list):
        raise UserError(f"{file} has no list of {table}")
    found: dict[int, Any] = {}
    for place, row in enumerate(rows):
        number = _get(row, "id", int, f"{file}: {table}[{place}]")
        if number in found:
            raise UserError(f"{file}: {table} id {number} is there twice")
        found[number] = row
    return found


def _used(content: dict[str, Any]) -> set[int]:
    """Return the ids of the categories that have a box; what is broken is told where the boxes are read."""
    rows = content.get("annotations")
    ids = (row.get("category_id") for row in rows if isinstance(row, dict)) if isinstance(rows, list) else ()
    return {number for number in ids if isinstance(number, int)}


def _categories(file: Path, content: dict[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Return the id of each category by name, and a note of those that are there twice, once without any box."""
    used = _used(content)
    found: dict[str, int] = {}
    doubled = list[str]()
    for number, row in _by_id(file, content, "categories").items():
        name = _get(row, "name", str, f"{file}: category {number}")
        if name in found and {found[name], number} <= used:
            raise UserError(f"{file}: categories {found[name]} and {number} are both named {name!r}")
        if name in found:
            doubled.append(name)
        if name not in found or number in used:
            found[name] = number
    if not found:
        raise UserError(f"{file} has no categories")
    return found, [f"{len(doubled)} categories without boxes share another's name and are dropped"] if doubled else []


def _own(content: dict[str, Any], categories: Mapping[str, int]) -> list[str]:
    """Return the names that are classes: Roboflow lists the project, the parent of all, among them, without a box."""
    above = {row["name"]: row.get("supercategory") for row in content["categories"]}
    roots = {name for name, parent in above.items() if parent == "none" and name in above.values()}
    used = _used(content)
    return sorted(name for name, number in categories.items() if name not in roots or number in used)


def _images(place: Place, content: dict[str, Any]) -> tuple[dict[int, Labelled], list[str]]:
    """Return the images by id, with their true sizes, and a note of sizes that are a pixel off."""
    found: dict[int, Labelled] = {}
    near, lost, misfits = 0, list[str](), list[str]()
    rows = _by_id(place.file, content, "images")
    folder = _folder(place, content)
    for number, row in rows.items():
        where = f"{place.file}: image {number}"
        name = relative(_get(row, "file_name", str, where))
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{where}: file_name {name} leads out of {folder}")
        if not exists_as_file(folder / name):
            lost.append(f"{where}: file {folder / name} does not exist")
            continue
        image = Labelled(name.with_suffix("").as_posix(), folder / name, *image_size(folder / name))
        if "width" in row or "height" in row:  # what is not declared cannot be wrong
            declared = _get(row, "width", int, where), _get(row, "height", int, where)
            if problem := image.misfit(declared, where):
                misfits.append(problem)
            near += declared != (image.width, image.height)
        found[number] = image
    if lost and not found:
        first = relative(_get(next(iter(rows.values())), "file_name", str, str(place.file)))
        raise UserError(f"{place.file}: none of its {len(rows)} images is in {folder} (first {first}); {IMAGES_CURE}")
    refuse(lost, IMAGES_CURE)
    refuse(misfits, SIZE_CURE)
    return found, [f"{near} images are declared a pixel larger or smaller than they are"] if near else []


def _folder(place: Place, content: dict[str, Any]) -> Path:
    rows = (row["file_name"] for row in content["images"] if isinstance(row.get("file_name"), str))
    return place.folder(map(relative, rows))


def _unlisted(
    root: Path, split: str, place: Place, content: dict[str, Any], images: Mapping[int, Labelled]
) -> Iterator[str]:
    """Yield a note of images in the folder of `split` alone that its file does not list."""
    folder, known = _folder(place, content), {image.path for image in images.values()}
    others = (locate(root, other) for other in NAMES if other != split)
    if any(other is not None and other.file != place.file and folder in other.folders for other in others):
        return
    found = (path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES)
    if lost := [path.relative_to(folder).as_posix() for path in found if path not in known]:
        yield f"{len(lost)} images in {folder.name} are not in {place.file.name} and are not read, such as {lost[0]}"


def _add_boxes(
    file: Path, content: dict[str, Any], images: dict[int, Labelled], labels: Mapping[int, int], known: set[int]
) -> Tally:
    """Give each image its boxes of the categories in `labels`; return what became of the annotations."""
    tally = Tally(file, SHAPE)
    rows = _by_id(file, content, "annotations")
    for number, row in rows.items():
        where = f"{file}: annotation {number}"
        try:
            image = images.get(_get(row, "image_id", int, where))
            if image is None:
                tally.orphans += 1
            else:
                _add_box(tally, image, row, f"{where} of image {image.name}", labels, known)
        except UserError as error:
            tally.problems.append(str(error))
    if images and rows and tally.orphans == len(rows):
        first = next(iter(rows.values()))["image_id"]
        raise UserError(f"{file}: no annotation is of an image in the file (the first has the image_id {first})")
    tally.check()
    return tally


def _add_box(
    tally: Tally, image: Labelled, row: dict[str, Any], where: str, labels: Mapping[int, int], known: set[int]
) -> None:
    category = _get(row, "category_id", int, where)
    if category not in known:
        raise UserError(f"{where} has the category_id {category}, which no category has")
    crowd = row.get("iscrowd", 0)
    if crowd not in (0, 1):
        raise UserError(f"{where}: iscrowd must be 0 or 1, not {crowd!r}")
    if category not in labels:
        tally.others += 1
        return
    bbox = row.get("bbox")
    # the comparison is false for NaN, and takes integers that no float can hold
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(_is_number(v) and abs(v) < 1e7 for v in bbox):
        raise UserError(f"{where}: bbox {bbox} is not four finite numbers")
    left, top, width, height = map(float, bbox)
    tally.add(
        image,
        (left, top, left + width, top + height),
        labels[category],
        bool(crowd),
        f"{where}: bbox {bbox}",
        corners=0 <= left < width <= image.width and 0 <= top < height <= image.height,
        normalised=max(map(abs, (left, top, width, height))) <= 1 < min(image.width, image.height),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
