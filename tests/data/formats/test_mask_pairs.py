"""The reader of images and masks in folders of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cl_bench.data.base import Split, has_test
from cl_bench.data.formats import mask_colours
from cl_bench.data.images import decode_mask
from cl_bench.data.layouts import layouts
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

INDICES = np.array([[0, 1, 2], [1, 1, 255]], np.uint8)
PALETTE = [0, 0, 0, 255, 0, 0, 0, 0, 255]
COLOURS = {"background": [0, 0, 0], "cat": "#ff0000", "dog": [[0, 0, 255], [0, 0, 254]], "void": "white"}


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


def pair(image: Path, mask: Path, content: np.ndarray = INDICES) -> None:
    for path in (image, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", content.shape[1::-1]).save(image)
    Image.fromarray(content).save(mask)


def coloured() -> np.ndarray:
    return np.array([PALETTE[3 * i : 3 * i + 3] if i != 255 else [255] * 3 for i in INDICES.flat], np.uint8).reshape(
        2, 3, 3
    )


def read(root: Path, split: str = "all", classes: tuple[str, ...] | None = None, **options: Any) -> Split:
    return formats.get("mask_pairs").read({"path": str(root), **options}, "segmentation", split, classes)


def masks(split: Split) -> list[Any]:
    return [decode_mask(example.target, None).tolist() for example in split.examples]


def by_folder(root: Path) -> None:
    for split in ("train", "val"):
        pair(root / "images" / split / "a.jpg", root / "masks" / split / "a.png")


def by_split(root: Path) -> None:
    for split in ("train", "valid", "test"):
        pair(root / split / "images" / "a.jpg", root / split / "masks" / "a_mask.png")


def without_splits(root: Path) -> None:
    pair(root / "imgs" / "a.jpg", root / "masks" / "a.png")


def camvid(root: Path) -> None:
    for split in ("train", "val", "test"):
        pair(root / split / "a.png", root / f"{split}annot" / "a.png")


def roboflow(root: Path) -> None:
    for split in ("train", "valid"):
        pair(root / split / "a.jpg", root / split / "a_mask.png")


@pytest.mark.parametrize(
    ("write", "splits"),
    [
        (roboflow, ("train", "val")),
        (by_folder, ("train", "val")),
        (by_split, ("train", "val", "test")),
        (without_splits, ("all",)),
        (camvid, ("train", "val", "test")),
    ],
)
def test_known_folders_and_endings_are_found(
    write: Callable[[Path], None], splits: tuple[str, ...], tmp_path: Path
) -> None:
    write(tmp_path)
    found = layouts(tmp_path)
    assert list(found) == ["mask_pairs"]
    assert [(one.kind, one.splits, one.options) for one in found["mask_pairs"]] == [("segmentation", splits, {})]
    assert has_test(formats.get("mask_pairs"), {"path": str(tmp_path)}, "segmentation") == ("test" in splits)
    for part in splits:
        split = read(tmp_path, part)
        assert split.classes == ("class 0", "class 1", "class 2")
        assert [example.name for example in split.examples] == ["a"]
        assert masks(split) == [INDICES.tolist()]


@pytest.mark.parametrize("train_ids", [False, True])
def test_cityscapes_is_read_by_its_nineteen_classes(train_ids: bool, tmp_path: Path) -> None:
    """labelIds 7, 24 and 33 are road, person and bicycle; 4 is static, which does not count."""
    for split in ("train", "val", "test"):
        ids = np.array([[4, 4, 4, 4]] if split == "test" else [[7, 24, 33, 4]], np.uint8)
        trained = np.array([[255] * 4] if split == "test" else [[0, 11, 18, 255]], np.uint8)
        name = f"{split}/ulm/ulm_000000_000019"
        image = tmp_path / "leftImg8bit" / f"{name}_leftImg8bit.png"
        pair(image, tmp_path / "gtFine" / f"{name}_gtFine_labelIds.png", ids)
        pair(image, tmp_path / "gtFine" / f"{name}_gtFine_instanceIds.png", ids)
        if train_ids:
            pair(image, tmp_path / "gtFine" / f"{name}_gtFine_labelTrainIds.png", trained)
    assert [one.splits for one in layouts(tmp_path)["mask_pairs"]] == [("train", "val")]
    split = read(tmp_path, "val")
    assert (len(split.classes), split.classes[0], split.classes[11], split.classes[18]) == (
        *(19, "road", "person", "bicycle"),
    )
    assert [example.name for example in split.examples] == ["ulm/ulm_000000_000019"]
    assert masks(split) == [[[0, 11, 18, 255]]]


@pytest.mark.parametrize("palette", [False, True])
def test_colours_become_indices(palette: bool, tmp_path: Path) -> None:
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", coloured())
    if palette:
        mask = Image.fromarray(np.where(INDICES == 255, 7, INDICES + 3).astype(np.uint8))
        mask = Image.frombytes("P", mask.size, mask.tobytes())
        mask.putpalette([9] * 9 + PALETTE + [1] * 3 + [255] * 3)
        mask.save(tmp_path / "masks" / "a.png")
    split = read(tmp_path, colours=COLOURS)
    assert split.classes == ("background", "cat", "dog")
    assert masks(split) == [INDICES.tolist()]
    assert masks(read(tmp_path, classes=("dog", "background"), colours=COLOURS)) == [[[1, 255, 0], [255, 255, 255]]]


def test_masks_of_0_and_255_alone_are_of_background_and_foreground(tmp_path: Path) -> None:
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", np.array([[0, 255]], np.uint8))
    (found,) = layouts(tmp_path)["mask_pairs"]
    split = read(tmp_path, **found.options)
    assert (split.classes, masks(split)) == (("background", "foreground"), [[[0, 1]]])


def test_masks_without_255_and_with_other_values_late_are_not_of_foreground(tmp_path: Path) -> None:
    for number in range(60):
        pair(
            tmp_path / "images" / f"{number:02d}.jpg",
            tmp_path / "masks" / f"{number:02d}.png",
            np.zeros((1, 2), np.uint8),
        )
    assert layouts(tmp_path)["mask_pairs"][0].options == {}, "nothing says that 255 is the foreground"
    Image.fromarray(np.array([[0, 255]], np.uint8)).save(tmp_path / "masks" / "00.png")
    assert layouts(tmp_path)["mask_pairs"][0].options == mask_colours.BINARY
    Image.fromarray(np.array([[0, 1]], np.uint8)).save(tmp_path / "masks" / "59.png")
    assert layouts(tmp_path)["mask_pairs"][0].options == {}, "the last masks are looked at, too"


def test_all_splits_have_the_classes_of_the_one_that_shows_most(tmp_path: Path) -> None:
    by_split(tmp_path)
    mask = tmp_path / "valid" / "masks" / "a_mask.png"
    Image.fromarray(np.zeros_like(INDICES)).save(mask)
    assert read(tmp_path, "val").classes == read(tmp_path, "train").classes == ("class 0", "class 1", "class 2")
    Image.fromarray(np.full_like(INDICES, 4)).save(mask)
    assert len(read(tmp_path, "train").classes) == 5, "a file that has changed is read anew"


def test_patterns_name_what_lies_elsewhere(tmp_path: Path) -> None:
    pair(tmp_path / "raw" / "train" / "x" / "a_rgb.png", tmp_path / "truth" / "train-x" / "a.png")
    pair(tmp_path / "raw" / "train" / "b_rgb.png", tmp_path / "truth" / "train" / "b.gt.png")
    options = {"images": "raw/{split}/{name}_rgb.png", "masks": "truth/{split}/{name}.gt.png"}
    with pytest.raises(UserError, match=r"image .*x.a_rgb\.png has no mask; `images: PATTERN`"):
        read(tmp_path, "train", **options)
    (tmp_path / "raw" / "train" / "x" / "a_rgb.png").unlink()
    assert [example.name for example in read(tmp_path, "train", **options).examples] == ["b"]
    with pytest.raises(UserError, match=r"raw/val/\{name\}_rgb\.png for val does not exist"):
        read(tmp_path, "val", **options)
    with pytest.raises(UserError, match=r"`masks` .* must be a pattern with \{name\}, not None"):
        read(tmp_path, "train", images="raw/{name}.png")


def test_all_that_lack_the_other_are_named_at_once(tmp_path: Path) -> None:
    for name in "abc":
        pair(tmp_path / "images" / f"{name}.jpg", tmp_path / "masks" / f"{name}.png")
    (tmp_path / "images" / "a.jpg").unlink()
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(UserError, match=r"2 things .*image .*b\.jpg has no mask; mask .*a\.png has no image"):
        read(tmp_path)
    with pytest.raises(UserError, match="has images of no splits; `split_off"):
        read(tmp_path, "train")
    with pytest.raises(UserError, match="holds no images with masks of the same names"):
        read(tmp_path / "images")


def test_colours_of_no_class_are_named_with_their_masks(tmp_path: Path) -> None:
    for name in "ab":
        pair(tmp_path / "images" / f"{name}.jpg", tmp_path / "masks" / f"{name}.png", coloured())
    with pytest.raises(UserError) as raised:
        read(tmp_path, colours={"background": [0, 0, 0], "cat": [255, 0, 0]})
    for part in ("a.png holds #0000ff, #ffffff, which no class has", "b.png holds", "`colours:` must name each"):
        assert part in str(raised.value)
    with pytest.raises(UserError, match=r"a\.png holds colours; `colours:` must name each"):
        read(tmp_path)
    with pytest.raises(UserError, match="is not grey, though `colours` are numbers"):
        read(tmp_path, colours={"background": 0})


@pytest.mark.parametrize(
    ("colours", "message"),
    [
        ([], "must be a table of classes"),
        ({"cat": 256}, "cat has 256, which is no colour"),
        ({"cat": "redd"}, "cat has 'redd', which is no colour"),
        ({"cat": 1, "dog": "red"}, "either all numbers or all colours"),
        ({"cat": "red", "dog": [255, 0, 0]}, "cat and dog have the same"),
    ],
)
def test_what_is_no_table_of_colours_is_said(colours: Any, message: str, tmp_path: Path) -> None:
    without_splits(tmp_path)
    with pytest.raises(UserError, match=message):
        read(tmp_path, colours=colours)


@pytest.mark.parametrize(
    ("values", "suffix"),
    [
        (np.array([[0, 300, 600]], np.uint16), "png"),
        (np.array([[0, 256, 255]], np.uint16), "png"),
        (np.array([[0, 1000, 2000]], np.int32), "tif"),
        (np.array([[0, 0.5, 1]], np.float32), "tif"),
    ],
)
def test_masks_of_more_than_8_bits_are_never_clipped(values: np.ndarray, suffix: str, tmp_path: Path) -> None:
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / f"a.{suffix}", values)
    for options in ({}, {"colours": {"bg": 0, "x": 255}}):
        with pytest.raises(UserError, match=r"a\.(png|tif) is of 16 or 32 bits and holds .*; save it with 8 bits"):
            read(tmp_path, **options)


def test_masks_of_16_bits_that_8_would_hold_are_read_by_their_values(tmp_path: Path) -> None:
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.png", np.array([[0, 255, 7]], np.uint16))
    split = read(tmp_path, colours={"bg": 0, "x": 255, "y": 7})
    assert masks(split) == [[[0, 1, 2]]]


def test_pairs_behind_links_are_read(tmp_path: Path) -> None:
    pair(tmp_path / "set" / "images" / "a.jpg", tmp_path / "set" / "masks" / "a.png")
    pair(tmp_path / "far" / "images" / "b.jpg", tmp_path / "far" / "masks" / "b.png")
    for part in ("images", "masks"):
        (tmp_path / "set" / part / "more").symlink_to(tmp_path / "far" / part)
    assert [one.name for one in read(tmp_path / "set").examples] == ["a", "more/b"]


def test_folders_of_splits_in_capitals_are_splits(tmp_path: Path) -> None:
    for split in ("Train", "Validation", "Test"):
        pair(tmp_path / "images" / split / f"{split}.jpg", tmp_path / "masks" / split / f"{split}.png")
    (found,) = layouts(tmp_path)["mask_pairs"]
    assert found.splits == ("train", "val", "test")
    assert [example.name for example in read(tmp_path, "val").examples] == ["Validation"]


def test_folders_of_val_and_test_alone_are_not_read_as_one_whole(tmp_path: Path) -> None:
    for split in ("val", "Test"):
        pair(tmp_path / "images" / split / "a.jpg", tmp_path / "masks" / split / "a.png")
    assert "mask_pairs" not in layouts(tmp_path)


@pytest.mark.parametrize("options", [{}, {"colours": {"background": 0, "object": 255}}])
def test_masks_that_are_jpegs_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    pair(tmp_path / "images" / "a.jpg", tmp_path / "masks" / "a.jpg", np.zeros((8, 8), np.uint8))
    with pytest.raises(UserError, match=r"mask .*a\.jpg is a JPEG, .* masks must be PNG"):
        read(tmp_path, **options)


def test_palettes_that_differ_are_refused_where_indices_would_be_read(tmp_path: Path) -> None:
    for name, palette in (("a", [0, 0, 0, 255, 0, 0]), ("b", [255, 0, 0, 0, 0, 0])):
        pair(tmp_path / "images" / f"{name}.jpg", tmp_path / "masks" / f"{name}.png", np.array([[0, 1]], np.uint8))
        mask = Image.fromarray(np.array([[0, 1]], np.uint8))
        mask.putpalette(palette)
        mask.save(tmp_path / "masks" / f"{name}.png")
    for classes in (None, ("background", "red")):
        with pytest.raises(UserError, match=r"index 0 is #000000 in mask .*a\.png and #ff0000 in .*b\.png"):
            read(tmp_path, classes=classes)
    by_colour = read(tmp_path, colours={"background": "#000000", "red": "#ff0000"})
    assert masks(by_colour) == [[[0, 1]], [[1, 0]]]
    assert masks(read(tmp_path, colours={"background": 0, "red": 1})) == [[[0, 1]], [[0, 1]]]
