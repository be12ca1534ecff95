"""Segmentation from images and masks in folders, or with endings, of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cl_bench.data.base import VOID, Example, Split
from cl_bench.data.formats import mask_colours, mask_places
from cl_bench.data.formats.reading import chosen, data_folder, missing, ordered
from cl_bench.data.layouts import ALL, NAMES, Layout, parts
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

CITYSCAPES = {
    **{"road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19},
    **{"traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26},
    **{"truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33},
}
"""The classes that count, with their labelIds; their order is that of the labelTrainIds (Cordts et al., CVPR 2016)."""

KEYS = (*mask_places.KEYS, "colours")


@formats.register
class MaskPairs:
    """images/ and masks/, each with or above folders of splits, or Cityscapes' leftImg8bit/ and gtFine/.

    `images` and `masks` are patterns for what lies elsewhere ({split}, {name}); `colours` says by class, in their
    order, which colour, palette index or grey value the masks have. Without it, masks hold class indices, 255 is void.
    """

    name = "mask_pairs"
    kinds: tuple[str, ...] = ("segmentation",)

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`; each target is the Path of a mask of indices into the classes.

        classes: by default those of `colours`, Cityscapes' 19, or "class 0" and so on up to the highest index in any
        split. Raises UserError, naming them all at once, for images and masks that lack the other, and for unknown
        colours.
        """
        root = data_folder(self, options, kind, KEYS)
        places = mask_places.patterns(root, options)
        if places is None:
            raise UserError(f"{root} holds no images with masks of the same names; {mask_places.CURE}")
        if split != ALL and not places.divided:
            raise UserError(
                f"{root} has images of no splits; `split_off: {{val: 0.1, test: 0.1}}` in the data makes some"
            )
        pairs = places.pairs(root, split)
        if not pairs:
            raise missing(f"{root / places.images.replace('{split}', split)} for {split}", options)
        masks = [mask for _, _, mask in pairs]
        if (colours := _colours(places, options)) is not None:
            names = chosen(classes, lambda: colours.classes)
            masks = colours.converted(masks, names)
        else:
            names = chosen(classes, lambda: _names(places, root))
            _values(mask for mask in masks if _has_palette(mask))
        examples = (Example(name, image, mask) for (name, image, _), mask in zip(pairs, masks, strict=True))
        return Split(names, ordered(examples, root))

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether there are test images with masks: Cityscapes' own are void, and count as none."""
        root = data_folder(self, options, kind, KEYS)
        places = mask_places.patterns(root, options)
        return places is not None and _labelled(places, root, "test")

    def layouts(self, root: Path) -> Iterator[Layout]:
        """Yield the segmentation that `root` has; masks of 0 and 255 alone are of one class and background."""
        places = mask_places.patterns(root, {})
        if places is None:
            return
        there = {split: _labelled(places, root, split) for split in NAMES}
        if splits := parts(there):
            masks = places.found(root, splits[0])[1].values()
            options = mask_colours.BINARY if _colours(places, {}) is None and mask_colours.are_binary(masks) else {}
            yield Layout("segmentation", splits, f"{places.images} with {places.masks}", options)


def _colours(places: mask_places.Patterns, options: Mapping[str, Any]) -> mask_colours.Colours | None:
    if "colours" in options:
        return mask_colours.parse(options["colours"])
    if not places.masks.endswith("_labelIds.png"):
        return None
    others = [value for value in range(256) if value not in CITYSCAPES.values()]
    return mask_colours.parse({**CITYSCAPES, mask_colours.VOID_NAME: others})


def _names(places: mask_places.Patterns, root: Path) -> tuple[str, ...]:
    if places.masks.endswith("_labelTrainIds.png"):
        return tuple(CITYSCAPES)
    # Of all splits alike: one in which the last class is rare would have fewer classes than the others.
    splits = NAMES if places.divided else (ALL,)
    masks = [mask for split in splits for mask in places.found(root, split)[1].values()]
    return tuple(f"class {index}" for index in range(max(_values(masks) - {VOID}, default=-1) + 1))


def _values(masks: Iterable[Path]) -> set[int]:
    """Return all indices or grey values in `masks`; raise UserError for one of colours."""
    found: dict[int, tuple[int, Path]] = {}
    for path in masks:
        for value, colour in _in_mask(path, path.stat().st_mtime_ns).items():
            other, first = found.setdefault(value, (colour, path))
            if other != colour:
                raise UserError(
                    f"index {value} is #{other:06x} in mask {first} and #{colour:06x} in {path}: `colours` in the data "
                    "says by number or by #rrggbb what each class is"
                )
    return set(found)


def _has_palette(path: Path) -> bool:
    try:
        with Image.open(path) as file:
            return file.mode == "P"
    except (OSError, Image.DecompressionBombError):
        return False  # whoever decodes it says what is wrong


@cache
def _in_mask(path: Path, changed: int) -> dict[int, int]:
    """Return the values in a mask and how its palette has them drawn, 0xRRGGBB (0 without one).

    Once for all splits that ask; `changed` is when the file was.
    """
    pixels = mask_colours.mask_values(path, grey=True)
    if pixels is None:
        raise UserError(f"mask {path} holds colours; {mask_colours.CURE}")
    values = np.unique(pixels).tolist()
    with Image.open(path) as file:
        drawn = file.getpalette() if file.mode == "P" else None
    triples = [(drawn or [])[3 * value : 3 * value + 3] for value in values]
    return {value: int(bytes(triple).hex() or "0", 16) for value, triple in zip(values, triples, strict=True)}


def _labelled(places: mask_places.Patterns, root: Path, split: str) -> bool:
    """Return whether there are images with masks; Cityscapes' test part, whose masks are void, has none."""
    images, masks = places.found(root, split)
    both = sorted(images.keys() & masks.keys())
    if not both or split != "test" or not places.masks.startswith("gtFine/"):
        return bool(both)
    counted = range(len(CITYSCAPES)) if places.masks.endswith("_labelTrainIds.png") else CITYSCAPES.values()
    return bool(_values([masks[both[0]]]) & set(counted))
