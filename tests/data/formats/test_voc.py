"""The VOC reader and the decoding of masks."""

import os
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cl_bench.data.base import has_test
from cl_bench.data.formats.voc import VOC_CLASSES
from cl_bench.data.images import decode_image, decode_mask, open_image
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats


def write_pair(image: Path, mask: Path, index: int = 1) -> None:
    image.parent.mkdir(parents=True, exist_ok=True)
    mask.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6), (index, 20, 30)).save(image)
    palette = Image.new("P", (8, 6), index)
    palette.putpalette([7 * i % 256 for i in range(768)])
    palette.save(mask)


def read(path, split="train", classes=None, kind="segmentation", **more):
    return formats.get("voc").read({"path": str(path), **more}, kind, split, classes)


def test_flat_pairs_are_sorted_and_targets_are_mask_files(tmp_path):
    for name in ("b", "a", "c.d"):
        write_pair(tmp_path / "train" / f"{name}.jpg", tmp_path / "train" / f"{name}.png")
    split = read(tmp_path)
    assert [example.name for example in split.examples] == ["a", "b", "c.d"]
    assert split.examples[0].target == tmp_path / "train" / "a.png"
    assert split.classes == VOC_CLASSES
    assert len(VOC_CLASSES) == 21
    assert read(tmp_path, classes=("background", "digit")).classes == ("background", "digit")


@pytest.mark.parametrize("below", ["", "VOCdevkit/VOC2012"])
def test_official_tree_follows_its_listing(tmp_path, below):
    tree = tmp_path / below
    for name in ("2007_2", "2007_1", "2007_3"):
        write_pair(tree / "JPEGImages" / f"{name}.jpg", tree / "SegmentationClass" / f"{name}.png")
    listing = tree / "ImageSets" / "Segmentation" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("2007_2\n2007_1\n\n")
    split = read(tmp_path, "val")
    assert [example.name for example in split.examples] == ["2007_1", "2007_2"]
    assert split.examples[1].target == tree / "SegmentationClass" / "2007_2.png"
    listing.write_text("2007_2\n2007_9\n")
    with pytest.raises(UserError, match=r"val\.txt lists 2007_9, whose image .*2007_9\.jpg does not exist"):
        read(tmp_path, "val")
    listing.write_text("2007_2\n2007_2\n")
    with pytest.raises(UserError, match="two images named '2007_2'"):
        read(tmp_path, "val")


@pytest.mark.parametrize("name", ["val", "Validation", "validation"])
def test_a_list_of_val_is_found_by_all_its_names(tmp_path, name):
    for one in ("a", "b"):
        write_pair(tmp_path / "JPEGImages" / f"{one}.jpg", tmp_path / "SegmentationClass" / f"{one}.png")
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "Train.txt").write_text("a\n")
    (lists / f"{name}.txt").write_text("b\n")
    assert [example.name for example in read(tmp_path, "train").examples] == ["a"]
    assert [example.name for example in read(tmp_path, "val").examples] == ["b"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_list_is_read_a_line_a_name(tmp_path, encoding, end):
    for name, ending in (("img 0", ".jpg"), ("naïve  1", ".JPEG"), ("c.d", ".png"), ("e", ".bmp")):
        write_pair(tmp_path / "JPEGImages" / f"{name}{ending}", tmp_path / "SegmentationClass" / f"{name}.png")
    listing = tmp_path / "ImageSets" / "Segmentation" / "train.txt"
    listing.parent.mkdir(parents=True)
    listing.write_bytes(end.join(["img 0", "  naïve  1 ", "", "c.d", "e.bmp", ""]).encode(encoding))
    found = {example.name: (example.image.name, example.target.name) for example in read(tmp_path).examples}
    assert found == {
        "img 0": ("img 0.jpg", "img 0.png"),
        "naïve  1": ("naïve  1.JPEG", "naïve  1.png"),
        "c.d": ("c.d.png", "c.d.png"),
        "e": ("e.bmp", "e.png"),
    }
    listing.write_text("img 9\n")
    with pytest.raises(UserError, match=r"lists img 9, whose image .*img 9\.jpg does not exist"):
        read(tmp_path)


def test_flat_images_may_have_any_ending_but_that_of_masks(tmp_path):
    for name in ("a.JPG", "b.bmp", "c d.webp"):
        write_pair(tmp_path / "train" / name, (tmp_path / "train" / name).with_suffix(".png"))
    assert [example.image.name for example in read(tmp_path).examples] == ["a.JPG", "b.bmp", "c d.webp"]
    Image.new("RGB", (8, 6)).save(tmp_path / "train" / "a.bmp")
    with pytest.raises(UserError, match=r"two images of the mask a\.png: a\.JPG and a\.bmp"):
        read(tmp_path)


def has(path):
    return has_test(formats.get("voc"), {"path": str(path)}, "segmentation")


def test_a_folder_of_test_masks_is_a_test_part_and_read_as_strictly_as_val(tmp_path):
    assert not has(tmp_path)
    (tmp_path / "test").mkdir()
    Image.new("RGB", (8, 6)).save(tmp_path / "test" / "b.jpg")
    assert not has(tmp_path), "images alone, their labels withheld"
    write_pair(tmp_path / "test" / "a.jpg", tmp_path / "test" / "a.png")
    assert has(tmp_path)
    with pytest.raises(UserError, match=r"b\.jpg has no mask b\.png"):
        read(tmp_path, "test")
    (tmp_path / "test" / "b.jpg").unlink()
    assert [example.name for example in read(tmp_path, "test").examples] == ["a"]


@pytest.mark.parametrize("below", ["", "VOCdevkit/VOC2012"])
def test_an_official_test_list_is_a_test_part_where_its_masks_were_published(tmp_path, below):
    tree = tmp_path / below
    listing = tree / "ImageSets" / "Segmentation" / "test.txt"
    listing.parent.mkdir(parents=True)
    for text in ("", "2008_1\n2008_2\n"):
        listing.write_text(text)
        assert not has(tmp_path)
    write_pair(tree / "JPEGImages" / "2008_1.jpg", tree / "SegmentationClass" / "2008_1.png")
    assert has(tmp_path)
    with pytest.raises(UserError, match=r"test\.txt lists 2008_2, whose image .*2008_2\.jpg does not exist"):
        read(tmp_path, "test")
    listing.write_text("2008_1\n")
    assert [example.name for example in read(tmp_path, "test").examples] == ["2008_1"]


def test_a_format_that_knows_of_no_test_part_has_none():
    class Own:
        name = "own"
        kinds = ("segmentation",)

        def read(self, options, kind, split, classes):
            raise NotImplementedError

    assert not has_test(Own(), {}, "segmentation")


@pytest.mark.parametrize(
    ("gone", "message"), [("a.png", r"a\.jpg has no mask a\.png"), ("a.jpg", r"a\.png has no image a\.jpg")]
)
def test_half_a_pair_is_an_error(tmp_path, gone, message):
    write_pair(tmp_path / "train" / "a.jpg", tmp_path / "train" / "a.png")
    write_pair(tmp_path / "train" / "b.jpg", tmp_path / "train" / "b.png")
    (tmp_path / "train" / gone).unlink()
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_missing_folders_are_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"nowhere does not exist$"):
        read(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"val \(nor ImageSets/Segmentation/val\.txt"):
        read(tmp_path, "val")
    monkeypatch.setenv("CL_BENCH_DATA", str(tmp_path))
    with pytest.raises(UserError, match=r"set does not exist.*`cl-bench data prepare`.*CL_BENCH_DATA"):
        read("${CL_BENCH_DATA}/set")
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match=r"train holds no images"):
        read(tmp_path)


def test_options_kind_and_classes_are_checked(tmp_path):
    write_pair(tmp_path / "train" / "a.jpg", tmp_path / "train" / "a.png")
    with pytest.raises(UserError, match="unknown key in the data of format voc 'paht'; did you mean 'path'"):
        read(tmp_path, paht="x")
    with pytest.raises(UserError, match="format voc holds data for segmentation, not for detection"):
        read(tmp_path, kind="detection")
    with pytest.raises(UserError, match="class 'a' is listed twice"):
        read(tmp_path, classes=("a", "b", "a"))
    with pytest.raises(UserError, match="needs a 'path'"):
        formats.get("voc").read({}, "segmentation", "train", None)


def test_masks_give_indices_not_colours(tmp_path):
    mask = Image.fromarray(np.array([[0, 15, 255], [20, 1, 15]], np.uint8), "L")
    mask.save(tmp_path / "grey.png")
    palette = mask.convert("L")
    palette.putpalette([(37 * i + 11) % 256 for i in range(768)])
    palette.save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        assert decode_mask(tmp_path / name, None).tolist() == [[0, 15, 255], [20, 1, 15]]
        resized = decode_mask(tmp_path / name, 12)
        assert resized.shape == (12, 12)
        assert resized.dtype == np.uint8
        assert set(np.unique(resized)) == {0, 1, 15, 20, 255}
        assert (resized[:6, :4] == 0).all()
        assert (resized[6:, 4:8] == 1).all()


def test_palette_of_few_bits_keeps_its_indices_and_such_greys_are_refused(tmp_path):
    few = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8), "P")
    few.putpalette([0, 0, 0, 9, 9, 9, 80, 0, 0, 0, 90, 0])
    few.save(tmp_path / "few.png", bits=2)
    assert decode_mask(tmp_path / "few.png", None).tolist() == [[0, 1], [2, 3]]
    content = bytearray((tmp_path / "few.png").read_bytes())
    assert content[24:26] == bytes([2, 3])  # bit depth, colour type
    content[25] = 0
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "stretched.png").write_bytes(content)
    with pytest.raises(UserError, match=r"stretched\.png must hold indices .* of fewer than 8 bits"):
        decode_mask(tmp_path / "stretched.png", None)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "1", "I;16"])
def test_other_modes_are_no_masks(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"mask .*mask\.png must hold indices"):
        decode_mask(tmp_path / "mask.png", 4)


def test_images_are_squashed_with_antialiasing(tmp_path):
    stripes = np.zeros((64, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    Image.fromarray(stripes).save(tmp_path / "stripes.png")
    image = decode_image(tmp_path / "stripes.png", 16)
    assert image.shape == (16, 16, 3)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - 127).max() <= 8  # without antialiasing all 0 or all 255
    Image.new("L", (5, 7), 9).save(tmp_path / "grey.jpg")
    assert open_image(tmp_path / "grey.jpg").mode == "RGB"
    assert open_image(tmp_path / "grey.jpg").size == (5, 7)


def test_broken_files_are_named(tmp_path):
    Image.effect_noise((64, 64), 50).save(tmp_path / "whole.jpg")
    content = (tmp_path / "whole.jpg").read_bytes()
    for name, data in {"cut.jpg": content[: len(content) // 2], "empty.jpg": b"", "text.jpg": b"hello"}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(UserError, match=f"image .*{name} cannot be decoded"):
            decode_image(tmp_path / name, 8)
    with pytest.raises(UserError, match=r"gone\.jpg does not exist"):
        decode_image(tmp_path / "gone.jpg", 8)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("limit", [60, 10])  # PIL warns of more pixels than this and raises at twice as many
def test_bombs_are_refused(tmp_path, monkeypatch, limit):
    Image.new("L", (8, 8)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    for decode in (decode_image, decode_mask):
        with pytest.raises(UserError, match=r"bomb\.png"):
            decode(tmp_path / "bomb.png", 4)


@pytest.mark.slow
@pytest.mark.skipif("CL_BENCH_DATA" not in os.environ, reason="CL_BENCH_DATA names no folder of real data")
@pytest.mark.parametrize(("split", "count"), [("train", 240), ("val", 60), ("test", 600)])
def test_real_masks_hold_classes_and_void_only(split, count):
    examples = read("${CL_BENCH_DATA}/mini_voc_seg", split).examples
    masks = [decode_mask(example.target, None) for example in examples]
    assert len(masks) == count
    assert set(np.unique(np.concatenate([mask.ravel() for mask in masks]))) == {*range(21), 255}
    for example, mask in zip(examples, masks, strict=True):
        assert open_image(example.image).size == mask.shape[::-1]
        assert set(np.unique(decode_mask(example.target, 128))) <= set(np.unique(mask))
