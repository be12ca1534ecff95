"""Images as people have them: turned photos, deep greys, transparency, inks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cl_bench.data.base import Example, Split
from cl_bench.data.cache import fingerprint
from cl_bench.data.images import Reading, decode_image, decode_mask, image_size, open_image, reading
from cl_bench.data.readings import told
from cl_bench.errors import UserError

SCENE = np.kron(np.array([[1, 2], [3, 4]], np.uint8), np.ones((16, 24), np.uint8))
"""Four quarters of an upright 48 x 32 picture, as a mask."""


def scene() -> Image.Image:
    image = Image.fromarray(SCENE, "L")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255])
    return image


def stored(upright: Image.Image, orientation: int) -> tuple[Image.Image, Image.Exif]:
    """Return the pixels that a camera stores of an upright picture, and the EXIF that says how to turn them."""
    exif = Image.Exif()
    exif[0x0112] = {6: 8, 8: 6}.get(orientation, orientation)  # of all turns, these two are each other's inverse
    carrier = upright.copy()
    carrier.info["exif"] = exif.tobytes()
    turned = ImageOps.exif_transpose(carrier)
    exif[0x0112] = orientation
    return turned, exif


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_upright_wherever_pixels_or_sizes_are_read(tmp_path: Path, orientation, suffix) -> None:
    image, exif = stored(scene().convert("RGB"), orientation)
    assert image.size == ((32, 48) if orientation >= 5 else (48, 32))
    file = tmp_path / f"photo.{suffix}"
    image.save(file, exif=exif, **({"quality": 95} if suffix in ("jpg", "webp") else {}))
    assert image_size(file) == open_image(file).size == (48, 32)
    assert reading(file) == Reading(orientation if suffix != "tif" else 1), "PIL turns a TIFF itself"
    for shown in (np.asarray(open_image(file)), decode_image(file, 48)):
        top, middle = shown[: len(shown) // 2], shown.shape[1] // 2
        assert np.allclose(np.median(top[:, :middle], (0, 1)), (255, 0, 0), atol=12)
        assert np.allclose(np.median(top[:, middle:], (0, 1)), (0, 255, 0), atol=12)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_turned_as_images_are(tmp_path: Path, orientation) -> None:
    mask, exif = stored(scene(), orientation)
    mask.save(tmp_path / "mask.png", exif=exif)
    assert (decode_mask(tmp_path / "mask.png", None) == SCENE).all()
    assert decode_mask(tmp_path / "mask.png", 4).tolist() == [[1, 1, 2, 2]] * 2 + [[3, 3, 4, 4]] * 2


@pytest.mark.parametrize("content", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0"])
def test_torn_exif_spoils_no_image(tmp_path: Path, content) -> None:
    scene().convert("RGB").save(tmp_path / "torn.jpg", exif=content)
    assert open_image(tmp_path / "torn.jpg").size == image_size(tmp_path / "torn.jpg") == (48, 32)
    assert reading(tmp_path / "torn.jpg") == Reading()


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientations_that_there_are_not_turn_nothing(tmp_path: Path, orientation) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    scene().convert("RGB").save(tmp_path / "odd.jpg", exif=exif)
    assert image_size(tmp_path / "odd.jpg") == (48, 32)
    assert reading(tmp_path / "odd.jpg") == Reading()


def test_sixteen_bit_greys_are_scaled_by_their_type(tmp_path: Path) -> None:
    values = np.array([[0, 257, 10000], [32896, 50000, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    Image.fromarray(values).save(tmp_path / "deep.tif")
    for name in ("deep.png", "deep.tif"):
        shown = np.asarray(open_image(tmp_path / name))
        assert shown[..., 0].tolist() == [[0, 1, 39], [128, 195, 255]]
        assert (shown == shown[..., :1]).all()
        assert reading(tmp_path / name) == Reading(1, "deep", 65535)
    for level in (10000, 50000):
        Image.fromarray(np.full((8, 8), level, np.uint16)).save(tmp_path / f"{level}.png")
        assert (decode_image(tmp_path / f"{level}.png", 4) == round(level / 257)).all()
    said = told([Reading(), Reading(1, "deep", 4095), Reading(6, "deep", 900)])
    assert said == [
        "1 images are turned upright, as their EXIF orientation says",
        "2 images are 16-bit grey, scaled from 0..65535 to 8 bits; their largest value is 4095",
    ]


@pytest.mark.parametrize(("mode", "kind"), [("F", np.float32), ("I", np.int32)])
def test_values_without_a_range_are_refused(tmp_path: Path, mode, kind) -> None:
    image = Image.fromarray(np.full((4, 4), 0.5, kind))
    assert image.mode == mode
    image.save(tmp_path / "values.tif")
    with pytest.raises(UserError, match=rf"values\.tif cannot be decoded: .* 32-bit values \(mode {mode}\)"):
        decode_image(tmp_path / "values.tif", 4)


def test_what_is_transparent_is_laid_on_white(tmp_path: Path) -> None:
    hidden = Image.new("RGBA", (4, 2), (10, 20, 30, 0))
    hidden.paste((200, 100, 0, 255), (0, 0, 2, 2))
    hidden.paste((0, 0, 0, 128), (2, 0, 3, 2))
    hidden.save(tmp_path / "rgba.png")
    assert np.asarray(open_image(tmp_path / "rgba.png"))[0].tolist() == [[200, 100, 0]] * 2 + [[127] * 3, [255] * 3]
    grey = Image.new("LA", (2, 1), (60, 255))
    grey.putpixel((1, 0), (60, 0))
    grey.save(tmp_path / "la.png")
    assert np.asarray(open_image(tmp_path / "la.png"))[0].tolist() == [[60] * 3, [255] * 3]
    palette = Image.fromarray(np.array([[1, 2]], np.uint8), "P")
    palette.putpalette([0, 0, 0, 9, 8, 7, 50, 60, 70])
    palette.save(tmp_path / "p.png", transparency=2)
    assert np.asarray(open_image(tmp_path / "p.png"))[0].tolist() == [[9, 8, 7], [255] * 3]
    for name in ("rgba.png", "la.png", "p.png"):
        assert reading(tmp_path / name).mode == "transparent"
    assert decode_mask(tmp_path / "p.png", None).tolist() == [[1, 2]], "a mask's indices are no colours"


def test_modes_that_lose_nothing_are_as_they_were(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (1, 2, 3, 255)).save(tmp_path / "opaque.png")
    Image.fromarray(np.array([[False, True]])).save(tmp_path / "bits.png")
    scene().save(tmp_path / "palette.png")
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "inks.jpg", quality=95)
    assert np.asarray(open_image(tmp_path / "opaque.png"))[0, 0].tolist() == [1, 2, 3]
    assert np.asarray(open_image(tmp_path / "bits.png"))[0].tolist() == [[0] * 3, [255] * 3]
    assert np.asarray(open_image(tmp_path / "palette.png"))[0, 0].tolist() == [255, 0, 0]
    assert np.allclose(np.asarray(open_image(tmp_path / "inks.jpg")), (255, 0, 0), atol=6)
    assert [reading(tmp_path / name).mode for name in ("opaque.png", "bits.png", "palette.png")] == [""] * 3
    assert told([reading(tmp_path / "inks.jpg")]) == ["1 images are CMYK, converted without their colour profile"]


def test_a_fingerprint_tells_files_whose_pixels_are_changed_and_is_as_it_was_of_others(tmp_path: Path) -> None:
    # What cached pictures and stored stages of such files go by must not be what it was when they were not turned.
    exif = Image.Exif()
    exif[0x0112] = 3
    scene().convert("RGB").save(tmp_path / "turned.png", exif=exif)
    scene().convert("RGB").save(tmp_path / "plain.png")

    def of(name: str) -> str:
        return fingerprint(Split(("a",), (Example("one", tmp_path / name, 0),)))

    def before(name: str) -> str:
        rows = [["one", hashlib.sha256((tmp_path / name).read_bytes()).hexdigest(), 0]]
        return hashlib.sha256(json.dumps([("a",), rows]).encode()).hexdigest()

    assert of("plain.png") == before("plain.png")
    assert of("turned.png") != before("turned.png")
