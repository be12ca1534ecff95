"""PASCAL VOC segmentation: an image and a mask of class indices each, flat or in the official tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from cl_bench.data.base import Example, Split
from cl_bench.data.formats import mask_colours
from cl_bench.data.formats.reading import IMAGE_SUFFIXES, chosen, data_folder, missing, ordered, visible
from cl_bench.data.formats.texts import exists_as_file, read_list
from cl_bench.data.layouts import ALL, NAMES, Layout, part_folder, parts, standing_for
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

VOC_CLASSES = (
    "background",
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""Class i is index i of the masks; 255 is void."""

KEYS = ("colours",)
"""What the data of a task may say beside `path`."""


@formats.register
class Voc:
    """`path/{train,val,test}/NAME.jpg + NAME.png`, or a folder that holds (VOCdevkit/VOC2012/) JPEGImages and so on.

    Images may have any ending; beside their masks, any but .png. `colours` says by class, in their order, which grey
    value, palette index or colour the masks have where these are no class indices, such as 0 and 255.
    """

    name = "voc"
    kinds: tuple[str, ...] = ("segmentation",)

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; each target is the Path of a mask whose index i stands for `classes[i]`.

        classes: by default those of `colours`, else VOC's 21.

        Raises UserError for an image without a mask, a mask without an image, and a split without images.
        """
        root = data_folder(self, options, kind, KEYS)
        colours = mask_colours.parse(options["colours"]) if "colours" in options else None
        names = chosen(classes, lambda: VOC_CLASSES if colours is None else colours.classes)
        folder = root if split == ALL else part_folder(root, split)
        if folder.is_dir() and not (split == ALL and _listing(root, ALL)):
            examples = _read_pairs(folder)
        elif listing := _listing(root, split):
            examples = _read_tree(listing)
        else:
            raise missing(f"{root / split} (nor ImageSets/Segmentation/{split}.txt of an official VOC tree)", options)
        if colours is not None:
            masks = colours.converted([one.target for one in examples], names)
            examples = tuple(replace(one, target=mask) for one, mask in zip(examples, masks, strict=True))
        return Split(names, examples)

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether there are test images with masks: those of VOC 2012 itself were published without."""
        root = data_folder(self, options, kind, KEYS)
        if (folder := part_folder(root, "test")).is_dir():
            return any(path.suffix.lower() == ".png" for path in visible(folder))
        return self._is_listed(root, "test")

    def layouts(self, root: Path) -> Iterator[Layout]:
        """Yield the segmentation that `root` has where masks lie beside images of their name, or in VOC's own tree."""
        there = {split: _has_pair(root if split == ALL else part_folder(root, split)) for split in NAMES}
        if splits := parts(there):
            folder = root if splits == (ALL,) else part_folder(root, splits[0])
            masks = [path for path in visible(folder) if path.suffix.lower() == ".png"]
            options = mask_colours.BINARY if mask_colours.are_binary(masks) else {}
            yield Layout("segmentation", splits, "masks beside images of the same name", options)
        elif splits := parts({split: self._is_listed(root, split) for split in ("train", "val", "test", ALL)}):
            yield Layout("segmentation", splits, "JPEGImages and SegmentationClass of a VOC tree", _label_map(root))

    @staticmethod
    def _is_listed(root: Path, split: str) -> bool:
        listing = _listing(root, split)
        return listing is not None and any(exists_as_file(mask) for _, _, mask in _listed(listing)[:1])


def _has_pair(folder: Path) -> bool:
    files = visible(folder) if folder.is_dir() else []
    masks = {path.stem for path in files if path.suffix.lower() == ".png"}
    return any(_ending(path.name) and path.suffix.lower() != ".png" and path.stem in masks for path in files)


def _label_map(root: Path) -> dict[str, Any]:
    """Return the `colours` of the labelmap.txt that CVAT writes, one `label:red,green,blue:parts:actions` a line."""
    if not (file := root / "labelmap.txt").is_file():
        return {}
    table = dict[str, list[int]]()
    for line in read_list(file):
        if line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        try:
            table[name] = [int(one) for one in rest.partition(":")[0].split(",")]
        except ValueError as error:
            raise UserError(f"{file}: {line[:60]!r} is not label:red,green,blue:parts:actions") from error
    return {"colours": table} if table else {}


def _listing(root: Path, split: str) -> Path | None:
    """Return the list of `split`'s names in an official tree; CVAT calls that of a tree without splits default."""
    for tree in (root, root / "VOCdevkit" / "VOC2012"):
        there = {path.stem: path for path in tree.glob("ImageSets/Segmentation/*.txt")}
        names = [name for name in there if name == "default"] if split == ALL else standing_for(split, there)
        if names:
            return there[names[0]]
    return None


def _listed(listing: Path) -> list[tuple[str, Path, Path]]:
    """Return each name with where its image and its mask must be."""
    tree = listing.parents[2]
    images, masks = _by_stem(tree / "JPEGImages"), _by_stem(tree / "SegmentationClass")
    found = []
    for line in read_list(listing):
        # Some lists name the files with their endings.
        name = line if line in images else line[: -len(_ending(line))] if _ending(line) else line
        image = images.get(name, tree / "JPEGImages" / f"{name}.jpg")
        found.append((name, image, masks.get(name, tree / "SegmentationClass" / f"{name}.png")))
    return found


def _ending(name: str) -> str:
    ending = Path(name).suffix
    return ending if ending.lower() in IMAGE_SUFFIXES else ""


def _by_stem(folder: Path) -> dict[str, Path]:
    """Return the images or masks of `folder` by name without ending; of two, the one that VOC itself would have."""
    files = [path for path in visible(folder) if _ending(path.name)] if folder.is_dir() else []
    usual = ".jpg" if folder.name == "JPEGImages" else ".png"
    return {path.stem: path for path in sorted(files, key=lambda path: path.suffix.lower() == usual)}


def _read_pairs(folder: Path) -> tuple[Example, ...]:
    files = visible(folder)
    masks = {path.stem: path for path in files if path.suffix.lower() == ".png"}
    images = [path for path in files if _ending(path.name) and path.suffix.lower() != ".png"]
    for image in images:
        if image.stem not in masks:
            raise UserError(f"image {image} has no mask {image.stem}.png beside it")
    for name in sorted(masks.keys() - {image.stem for image in images}):
        raise UserError(f"mask {masks[name]} has no image {name}.jpg beside it")
    for first, second in pairwise(sorted(images)):
        if first.stem == second.stem:
            raise UserError(
                f"{folder} holds two images of the mask {masks[first.stem].name}: {first.name} and {second.name}"
            )
    return ordered((Example(image.stem, image, masks[image.stem]) for image in images), folder)


def _read_tree(listing: Path) -> tuple[Example, ...]:
    examples = []
    for name, image, mask in _listed(listing):
        for what, path in (("image", image), ("mask", mask)):
            if not exists_as_file(path):
                raise UserError(f"{listing} lists {name}, whose {what} {path} does not exist")
        examples.append(Example(name, image, mask))
    return ordered(examples, listing)
