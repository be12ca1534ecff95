"""Classification from folders: one folder of images a class."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cl_bench.data.base import Example, Split
from cl_bench.data.formats.reading import IMAGE_SUFFIXES, chosen, data_folder, missing, ordered, visible
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.registry import formats


@formats.register
class ImageFolder:
    """`path/{train,val,test}/CLASS/NAME.jpg` (jpeg and png too); an example is named CLASS/NAME."""

    name = "image_folder"
    kinds: tuple[str, ...] = ("classification",)

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; each target is an index into the classes, by default the sorted names of the folders.

        `classes` may be a part of the folders. Raises UserError for a class of train without a folder or without
        images, and for a split whose folders and `classes` differ both ways.
        """
        folder = data_folder(self, options, kind) / split
        if not folder.is_dir():
            raise missing(folder, options)
        folders = {path.name: path for path in visible(folder) if path.is_dir()}
        if not folders:
            raise UserError(f"{folder} holds no class folders")
        names = chosen(classes, lambda: folders)
        others, absent = folders.keys() - set(names), [name for name in names if name not in folders]
        if absent and (split == "train" or others):
            raise unknown_name_error(f"class for the folders of {folder}:", absent[0], folders)
        notes = [f"left out {len(others)} of {len(folders)} class folders, as asked"] if others else []
        examples: list[Example] = []
        for label, name in enumerate(names):
            images = _images(folders[name], notes) if name in folders else []
            if not images and split == "train":
                raise UserError(f"class folder {folder / name} holds no images")
            examples += [Example(f"{name}/{path.stem}", path, label) for path in images]
        return Split(names, ordered(examples, folder), tuple(notes))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether a class of train has test images; images in other folders are sorted into no class."""
        root = data_folder(self, options, kind)
        known = {path.name for path in visible(root / "train")} if (root / "train").is_dir() else set()
        folders = visible(root / "test") if (root / "test").is_dir() else []
        return any(_images(folder, []) for folder in folders if folder.is_dir() and folder.name in known)


def _images(folder: Path, notes: list[str]) -> list[Path]:
    found = visible(folder)
    # A pipe or a device would never end; a link that leads nowhere is told of when it is read.
    files = [path for path in found if path.is_file() or not path.exists()]
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    if len(images) < len(found):
        notes.append(f"left out {len(found) - len(images)} things in {folder.name} that are no images")
    return images
