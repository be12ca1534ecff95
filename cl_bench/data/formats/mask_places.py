"""Where the images and masks of a split lie, by patterns, and which image goes with which mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cl_bench.data.formats.reading import IMAGE_SUFFIXES, files_below
from cl_bench.data.layouts import ALL, refuse, split_of, to_try
from cl_bench.errors import UserError

KEYS = ("images", "masks")

CURE = "`images: PATTERN` and `masks: PATTERN` say where they are, such as {split}/img/{name}.jpg, {split}/gt/{name}.*"

SUFFIXES = ("", "_mask", "_masks", "_label", "_labels", "_seg", "_gt", "_L")
"""What masks have behind the name of their image."""


@dataclass(frozen=True)
class Patterns:
    """Paths below the folder with {name} and, where there are splits, {split}; an ending .* is any of an image's."""

    images: str
    masks: str

    @property
    def divided(self) -> bool:
        """Whether images lie by split."""
        return "{split}" in self.images

    def found(self, root: Path, split: str) -> tuple[dict[str, Path], dict[str, Path]]:
        """Return images and masks by the name that each has; there are none of a split where there are no splits."""
        for word in self.words(root, split) if self.divided == (split != ALL) else ():
            images, masks = (_matching(root, one.replace("{split}", word)) for one in (self.images, self.masks))
            if images:
                return images, masks
        return {}, {}

    def words(self, root: Path, split: str) -> list[str]:
        """Return what the folders of `split` may be called: its usual names, then those there that are like them."""
        place = root / self.images.partition("{split}")[0].rpartition("/")[0]
        there = [path.name for path in place.iterdir() if path.is_dir()] if self.divided and place.is_dir() else []
        return to_try(split, there)

    def pairs(self, root: Path, split: str) -> list[tuple[str, Path, Path]]:
        """Return name, image and mask of each; raise UserError, naming them all, where one has no other."""
        images, masks = self.found(root, split)
        alone = [f"image {images[name]} has no mask" for name in images if name not in masks]
        alone += [f"mask {masks[name]} has no image" for name in masks if name not in images]
        refuse(alone, CURE)
        return [(name, images[name], masks[name]) for name in images]


def _matching(root: Path, pattern: str) -> dict[str, Path]:
    """Return by {name}, which may hold folders, the image files that `pattern` fits."""
    before, _, after = pattern.partition("{name}")
    base, found = root / before.rpartition("/")[0], dict[str, Path]()
    any_suffix = after.endswith(".*")
    after = after.removesuffix(".*")
    for path in files_below(base) if base.is_dir() else ():
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            continue
        text = path.relative_to(root).as_posix()
        text = text[: -len(path.suffix)] if any_suffix else text
        if text.startswith(before) and text.endswith(after) and len(text) > len(before) + len(after):
            name = text[len(before) : len(text) - len(after)]
            if (other := found.setdefault(name, path)) != path:
                raise UserError(f"{base} holds two files for {name!r}: {other.name} and {path.name}")
    return found


def patterns(root: Path, options: Mapping[str, Any]) -> Patterns | None:
    """Return the patterns that `options` give, else the first known ones that some image and mask fit, or None."""
    if not any(key in options for key in KEYS):
        return next((one for one in _known() if _fits(one, root)), None)
    return Patterns(*(_given(key, options.get(key)) for key in KEYS))


def _given(key: str, value: Any) -> str:
    if not isinstance(value, str) or value.count("{name}") != 1:
        raise UserError(f"`{key}` in the data of format mask_pairs must be a pattern with {{name}}, not {value!r}")
    return value


def _fits(one: Patterns, root: Path) -> bool:
    split = "train" if one.divided else "all"
    # Most of the known patterns are of folders that are not there, so that no files need be looked at.
    words = one.words(root, split)
    if not any(all(_base(root, half, word).is_dir() for half in (one.images, one.masks)) for word in words):
        return False
    if not one.divided and any(split_of(path.name) for path in _base(root, one.images, "").iterdir() if path.is_dir()):
        return False  # what is declared val or test must not be trained on
    images, masks = one.found(root, split)
    return bool(images.keys() & masks.keys())


def _base(root: Path, pattern: str, word: str) -> Path:
    return root / pattern.partition("{name}")[0].rpartition("/")[0].replace("{split}", word)


def _known() -> Iterator[Patterns]:
    for masks in ("labelTrainIds", "labelIds"):
        yield Patterns("leftImg8bit/{split}/{name}_leftImg8bit.png", "gtFine/{split}/{name}_gtFine_" + masks + ".png")
    for images, masks in _folders():
        for suffix in SUFFIXES:
            file = f"{{name}}{suffix}.*"
            yield Patterns(f"{images}/{{split}}/{{name}}.*", f"{masks}/{{split}}/{file}")
            yield Patterns(f"{{split}}/{images}/{{name}}.*", f"{{split}}/{masks}/{file}")
            yield Patterns(f"{images}/{{name}}.*", f"{masks}/{file}")
    yield Patterns("{split}/{name}.jpg", "{split}/{name}_mask.png")  # Roboflow
    for folder in ("annot", "_masks", "_labels", "_mask"):  # CamVid, and what follows it
        for suffix in SUFFIXES:
            yield Patterns("{split}/{name}.*", f"{{split}}{folder}/{{name}}{suffix}.*")


def _folders() -> Iterator[tuple[str, str]]:
    for images in ("images", "image", "imgs", "img"):
        for masks in ("masks", "mask", "labels", "label", "annotations", "gt"):
            yield images, masks
