"""The embedded data: real handwriting on real photographs, generated without a download.

The digits are scikit-learn's `load_digits` (1,797 of 8 x 8 cells), the photographs its `load_sample_images` (two) and
matplotlib's. Each image is a crop of a photograph, faded to black or to white, with digits on it: enlarged, slightly
turned, and painted in a tint that stands out.

Train, val and test share neither a digit nor a pixel of a photograph: the left 400 columns of scikit-learn's are train,
the others val; test has matplotlib's, and those digits of train's that no image of train shows. (Scikit-learn does not
say who wrote which digit, so a writer may occur in all.) The kinds share no digit either, and look different, as the
data sets of real streams do: segmentation has wide, darkened views and warm tints, detection closer, bleached views and
cool tints, classification dark close-ups and tints, both nearly grey. Only the shape of a digit depends on its class.
What went where is written to `sources.json` beside the splits.
"""

from __future__ import annotations

import colorsys
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter
from pydantic import BaseModel, Field

from cl_bench.data.base import Split
from cl_bench.data.embedded.glyphs import RIM, arrange
from cl_bench.data.embedded.samples import digits as handwriting
from cl_bench.data.embedded.samples import photographs
from cl_bench.data.formats.reading import parse_options
from cl_bench.errors import UserError, unknown_name_error
from cl_bench.plugins.registry import formats
from cl_bench.utils import paths
from cl_bench.utils.files import whole_folder

VERSION = 1  # raise it with every change of what is generated: cached sets of other versions are not used
# Of the photographs, split between two 16 x 16 blocks of their JPEGs; test has a photograph of its own.
COLUMNS = {"train": (0, 400), "val": (400, 640), "test": (0, 512)}
SPARE = 4  # digits of each class that train must leave to test, where there is a test part
VOID = 255  # the value of a digit's rim in the masks
DIGITS = tuple("0123456789")
PALETTE = [0] * 3 + [round(255 * part) for i in range(10) for part in colorsys.hsv_to_rgb(i / 10, 1, 1)] + [255] * 735
Floats = npt.NDArray[np.float32]
Share = Annotated[float, Field(ge=0.15, le=0.9)]


@dataclass(frozen=True)
class Style:
    """What sets a kind apart: the format it is written in, and how its images look."""

    reader: str
    crop: tuple[int, int]  # least and greatest side, in pixels of the photograph
    tone: float  # what the photograph is faded to, 0 black or 1 white; the digits get the opposite
    hue: tuple[float, float]  # of the tints, in turns of the colour circle
    colour: float  # saturation of tints and photograph, 0 grey to 1 as it is


STYLES = {
    "segmentation": Style("voc", (180, 240), 0.0, (-0.08, 0.17), 1.0),
    "detection": Style("coco", (110, 160), 1.0, (0.42, 0.75), 1.0),
    "classification": Style("image_folder", (50, 90), 0.0, (0.0, 1.0), 0.2),
}


class Options(BaseModel, frozen=True, strict=True):
    """How much is generated: numbers of images (at least 10, so that every class occurs) and their side in pixels.

    test: 0 for no test part; whatever it is, train and val are the same.
    objects: most digits in an image of segmentation and detection; scale: least and greatest height of a digit as a
    share of the side (digits that do not fit together are made smaller).
    """

    train: int = Field(240, ge=10, le=9999)
    val: int = Field(60, ge=10, le=9999)
    test: int = Field(0, ge=0, le=9999)
    size: int = Field(160, ge=64, le=1024)
    seed: int = Field(0, ge=0, lt=2**32)
    objects: int = Field(2, ge=1, le=4)
    scale: tuple[Share, Share] = Field((0.5, 0.75), strict=False)


@dataclass(frozen=True, eq=False)
class Scene:
    """One image before it is written.

    image: (size, size, 3); mask: (size, size), 0 background, 1..10 digits, 255 void; boxes: left, top, right, bottom
    (exclusive), exactly around each digit's mask; source: photograph, crop of it (likewise), digits of `load_digits`.
    """

    name: str
    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    labels: tuple[int, ...]
    boxes: tuple[tuple[int, int, int, int], ...]
    source: dict[str, Any]


@formats.register
class Scenes:
    """Handwritten digits on photographs, generated once into the cache and read by the ordinary readers."""

    name = "scenes"
    kinds = tuple(STYLES)
    embedded = True

    def read(self, options: Mapping[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Read `split`, after generating the set where the cache has none; options as in `Options`."""
        folder = generate(parse(options), kind, split)
        own = ("background", *DIGITS) if kind == "segmentation" else DIGITS
        if kind == "segmentation" and classes not in (None, own):
            raise UserError(f"data format scenes: the classes of its masks are {', '.join(own)}, in this order")
        return formats.get(STYLES[kind].reader).read({"path": str(folder)}, kind, split, classes or own)

    def has_test(self, options: Mapping[str, Any], kind: str) -> bool:
        """Return whether a test part is asked for."""
        return parse(options).test > 0


def parse(options: Mapping[str, Any]) -> Options:
    """Return the validated options; raise UserError naming the key that is unknown or out of range."""
    parsed = parse_options("scenes", Options, options)
    if parsed.scale[0] > parsed.scale[1]:
        raise UserError(f"data format scenes: scale must be [low, high], not {list(parsed.scale)}")
    if 0 < parsed.test < 10:
        raise UserError(f"data format scenes: test must be 10 or more, or 0 for no test part, not {parsed.test}")
    return parsed


def generate(options: Options, kind: str, split: str = "train") -> Path:
    """Return the folder of train and val of `kind`, or that of test where `split` is; what is not there is written.

    It is written whole or not at all. Raises UserError where no test part is asked for, or train leaves too few digits.
    """
    if kind not in STYLES:
        raise unknown_name_error("kind of data format scenes", kind, STYLES)
    if split == "test" and not options.test:
        raise UserError("data format scenes: there is no test part where test is 0")
    parts = ("test",) if split == "test" else ("train", "val")
    content = json.dumps([VERSION, _deciding(options, parts)], sort_keys=True)
    folder = paths.cache_root() / "scenes" / hashlib.sha256(content.encode()).hexdigest()[:16] / kind
    if folder.is_dir():
        return folder
    with whole_folder(folder, shared=True) as made:
        _write(made, options, kind, parts)
    return folder


def _deciding(options: Options, parts: Sequence[str]) -> dict[str, Any]:
    """Return the options that decide what `parts` hold: test depends on train, whose digits it avoids, not on val."""
    return options.model_dump(exclude={"val"} if "test" in parts else {"test"})


def scenes(options: Options, kind: str, split: str) -> Iterator[Scene]:
    """Yield the images of `split`."""
    count = {"train": options.train, "val": options.val, "test": options.test}[split]
    for index, (labels, digits) in enumerate(itertools.islice(_deal(options, kind, split), count)):
        yield _compose(options, kind, split, index, labels, digits)


def _deal(options: Options, kind: str, split: str) -> Iterator[tuple[tuple[int, ...], list[int]]]:
    """Yield the labels and digits of image after image, without end.

    Each class comes equally often (to one), no digit twice before all of its class.
    """
    rng, most = _rng("deal", options, kind, split), 1 if kind == "classification" else options.objects
    deck = itertools.chain.from_iterable(rng.permutation(10).tolist() for _ in itertools.count())
    pools = [itertools.cycle(pool) for pool in allot(options, kind, split)]
    while True:
        labels = tuple(itertools.islice(deck, int(rng.integers(1, most, endpoint=True))))
        yield labels, [next(pools[label]) for label in labels]


def allot(options: Options, kind: str, split: str) -> list[list[int]]:
    """Return the digits a split may use: per class, indices into `load_digits`; no two splits or kinds share one.

    Those of test are what train leaves of its own. Raises UserError where that is too little.
    """
    if split == "test":
        return _spare(options, kind)
    rng, pools = _rng("allot", options), []
    for digit in range(10):
        indices = rng.permutation(np.flatnonzero(handwriting()[1] == digit))
        own = indices[list(STYLES).index(kind) :: len(STYLES)].tolist()
        border = len(own) * 4 // 5
        pools.append(own[:border] if split == "train" else own[border:])
    return pools


def _spare(options: Options, kind: str) -> list[list[int]]:
    pools = allot(options, kind, "train")
    for index, (labels, digits) in enumerate(itertools.islice(_deal(options, kind, "train"), options.train)):
        for label, digit in zip(labels, digits, strict=True):
            pools[label] = [other for other in pools[label] if other != digit]
            if len(pools[label]) < SPARE:
                raise UserError(
                    f"data format scenes: a test part needs {SPARE} digits of each class that train does not show, and "
                    f"{options.train} training images of {kind} leave fewer {label}s; {index} would leave enough"
                )
    return pools


def _rng(purpose: str, options: Options, kind: str = "", split: str = "", index: int = 0) -> np.random.Generator:
    text = json.dumps([VERSION, purpose, options.seed, kind, split, index])
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest(), "big"))


def _compose(options: Options, kind: str, split: str, index: int, labels: tuple[int, ...], digits: list[int]) -> Scene:
    rng, style, size = _rng("image", options, kind, split, index), STYLES[kind], options.size
    placed = arrange(rng, digits, size, options.scale)
    photograph, crop, canvas = _view(rng, style, size, split)
    mask = np.zeros((size, size), np.uint8)
    for label, (place, opacity) in zip(labels, placed, strict=True):
        solid = opacity >= 0.5
        bright = rng.uniform(0.95, 1) - 0.85 * style.tone  # far from whatever a faded photograph can hold
        saturation = style.colour * rng.uniform(0.15, 0.45) * (1 + style.tone)
        tint = np.array(colorsys.hsv_to_rgb(rng.uniform(*style.hue) % 1, saturation, bright), np.float32)
        canvas[place] += (tint - canvas[place]) * opacity[..., None] * rng.uniform(0.85, 1)
        grown = np.asarray(Image.fromarray(solid.astype(np.uint8)).filter(ImageFilter.MaxFilter(2 * RIM + 1)))
        mask[place] = np.where(solid, label + 1, grown * VOID)
    boxes = tuple((x.start + RIM, y.start + RIM, x.stop - RIM, y.stop - RIM) for (y, x), _ in placed)
    source = {"photograph": photograph, "crop": crop, "digits": digits}
    return Scene(f"{split}_{index:04d}", (canvas * 255).round().astype(np.uint8), mask, labels, boxes, source)


def _view(rng: np.random.Generator, style: Style, size: int, split: str) -> tuple[str, tuple[int, ...], Floats]:
    """Return a photograph's name, the crop (left, top, right, bottom) and what it shows, (size, size, 3) in 0..1."""
    name = str(rng.choice(list(photographs(split))))
    photograph, (first, last) = photographs(split)[name], COLUMNS[split]
    side = int(rng.integers(*style.crop, endpoint=True))
    left, top = rng.integers((first, 0), (last - side, photograph.height - side), endpoint=True).tolist()
    crop = (left, top, left + side, top + side)
    # not resize(box=crop): what is cropped first cannot take in a pixel of the other split's side
    view = photograph.crop(crop).resize((size, size), Image.Resampling.BICUBIC)
    pixels = np.asarray(ImageEnhance.Color(view).enhance(style.colour), np.float32) / np.float32(255)
    return name, crop, pixels * np.float32(0.4) + np.float32(0.6 * style.tone)


def _write(folder: Path, options: Options, kind: str, parts: Sequence[str]) -> None:
    """Write the splits `parts` in the layout of the kind's reader, and `sources.json`."""
    sources: dict[str, Any] = {"schema": 1, "version": VERSION, "kind": kind, "options": _deciding(options, parts)}
    for split in parts:
        made = list(scenes(options, kind, split))
        for scene in made:
            within = {"voc": "", "coco": "data", "image_folder": DIGITS[scene.labels[0]]}[STYLES[kind].reader]
            place = folder / split / within
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(scene.image).save(place / f"{scene.name}.jpg", quality=95)
            if kind == "segmentation":
                mask = Image.fromarray(scene.mask)
                mask.putpalette(PALETTE)
                mask.save(place / f"{scene.name}.png")
        if kind == "detection":
            (folder / split / "labels.json").write_text(json.dumps(_coco(made)))
        sources[split] = {"columns": COLUMNS[split], "images": {scene.name: scene.source for scene in made}}
    (folder / "sources.json").write_text(json.dumps(sources, indent=1))


def _coco(made: list[Scene]) -> dict[str, Any]:
    images, boxes = [], list[dict[str, Any]]()
    for number, scene in enumerate(made, 1):
        height, width = scene.mask.shape
        images.append({"id": number, "file_name": f"{scene.name}.jpg", "width": width, "height": height})
        for label, (left, top, right, bottom) in zip(scene.labels, scene.boxes, strict=True):
            row = {"id": len(boxes) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0}
            area = int((scene.mask[top:bottom, left:right] == label + 1).sum())
            boxes.append({**row, "bbox": [left, top, right - left, bottom - top], "area": area})
    categories = [{"id": number, "name": name} for number, name in enumerate(DIGITS, 1)]
    return {"categories": categories, "images": images, "annotations": boxes}
