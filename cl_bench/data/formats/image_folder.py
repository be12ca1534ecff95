"""Classification from folders: one folder of images a class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cl_bench.data.base import Example, Split
from cl_bench.data.formats.reading import IMAGE_SUFFIXES, chosen, data_folder, files_below, missing, ordered, visible
from cl_bench.data.layouts import ALL, NAMES, Layout, part_folder, parts, split_of
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.registry import formats

OTHERS = {
    *("images", "image", "imgs", "img", "data", "labels", "label", "masks", "mask", "annotations", "gt"),
    *("obj_train_data", "obj_valid_data", "obj_validation_data", "obj_test_data"),
    *("jpegimages", "segmentationclass", "leftimg8bit", "gtfine", "train2017", "val2017"),
}
"""Names of folders, in small letters, by which other layouts are known, and no classes."""


@formats.register
class ImageFolder:
    """`path/{train,val,test}/CLASS/NAME.jpg`, any ending of images; an example is named CLASS/NAME.

    What lies in folders inside a class folder is of that class, too, and is named CLASS/FOLDER/NAME.
    """

    name = "image_folder"
    kinds: tuple[str, ...] = ("classification",)

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; each target is an index into the classes, by default the sorted names of the folders.

        `classes` may be a part of the folders. Raises UserError for a class of train without a folder or without
        images. Another split may lack a class; where it has folders not asked for, train must have both.
        """
        root = data_folder(self, options, kind)
        folder = root if split == ALL else part_folder(root, split)
        if not folder.is_dir():
            raise missing(folder, options)
        folders = {path.name: path for path in visible(folder) if path.is_dir()}
        if not folders:
            raise UserError(f"{folder} holds no class folders")
        names = chosen(classes, lambda: folders)
        others, absent = folders.keys() - set(names), [name for name in names if name not in folders]
        # In val or test a class of another name may be a slip of the pen; one that train has is merely absent.
        odd = {*others, *absent} - _classes_of(part_folder(root, "train")) if others else set()
        if absent and (split == "train" or odd):
            raise unknown_name_error(f"class for the folders of {folder}:", absent[0], folders)
        notes = [f"left out {len(others)} of {len(folders)} class folders, as asked"] if others else []
        examples: list[Example] = []
        for label, name in enumerate(names):
            images = _images(folders[name], notes) if name in folders else []
            if not images and split == "train":
                raise UserError(f"class folder {folder / name} holds no images")
            examples += [Example(_name(name, folders[name], path), path, label) for path in images]
        return Split(names, ordered(examples, folder), tuple(notes))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether a class of train has test images; images in other folders are sorted into no class."""
        root = data_folder(self, options, kind)
        known = _classes_of(part_folder(root, "train"))
        return any(_images(folder, []) for folder in _inside(part_folder(root, "test")) if folder.name in known)

    def layouts(self, root: Path) -> Iterator[Layout]:
        """Yield the classification that `root` has where its folders hold images and have no names of another use."""
        there = {split: _is_part(part_folder(root, split)) for split in NAMES if split != ALL}
        there[ALL] = _is_of_classes(root)
        if splits := parts(there):
            yield Layout("classification", splits, f"a folder of images a class{_remarks(root, splits)}")


def _remarks(root: Path, splits: Sequence[str]) -> str:
    """Return which folders are taken for which split where their names do not say so, and which are not read."""
    if splits == (ALL,):
        return ""
    used = {part_folder(root, split).name: split for split in splits}
    told = [f"{name} is {split}" for name, split in used.items() if name not in NAMES[split]]
    others = [path.name for path in visible(root) if path.is_dir() and path.name not in used]
    return "".join(f", {one}" for one in told) + (f"; not read: {', '.join(others)}" if others else "")


def _is_part(folder: Path) -> bool:
    """Return whether `folder`, which has a split's name, is of classes, whose images may all lie deeper."""
    if _is_of_classes(folder):
        return True
    # One folder with folders in it is sooner the wrapping of another layout than a class.
    return sum(map(_holds_deeper, _inside(folder))) > 1


def _is_of_classes(folder: Path) -> bool:
    inside = _inside(folder)
    if any(map(_is_of_other_use, inside)):
        return False
    return any(path.suffix.lower() in IMAGE_SUFFIXES for one in inside for path in one.iterdir())


def _classes_of(folder: Path) -> set[str]:
    return {path.name for path in _inside(folder)}


def _inside(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if path.is_dir()] if folder.is_dir() else []


def _is_of_other_use(folder: Path) -> bool:
    return folder.name.lower() in OTHERS or bool(split_of(folder.name))


def _holds_deeper(folder: Path) -> bool:
    first = next((path for path in files_below(folder) if path.suffix.lower() in IMAGE_SUFFIXES), None)
    if first is None:
        return False
    above = [folder, *(parent for parent in first.parents if folder in parent.parents)]
    return not any(map(_is_of_other_use, above))


def _name(name: str, folder: Path, image: Path) -> str:
    return f"{name}/{image.relative_to(folder).with_suffix('').as_posix()}"


def _images(folder: Path, notes: list[str]) -> list[Path]:
    images, others = list[Path](), 0
    for path in files_below(folder):
        # A pipe or a device would never end; a link that leads nowhere is told of when it is read.
        if path.suffix.lower() in IMAGE_SUFFIXES and (path.is_file() or not path.exists()):
            images.append(path)
        else:
            others += 1
    if others:
        notes.append(f"left out {others} things in {folder.name} that are no images")
    if deeper := sum(path.parent != folder for path in images):
        notes.append(f"{deeper} images lie in folders inside {folder.name} and are of that class")
    return images
