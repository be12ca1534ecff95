"""Data as people have them, read, audited and scored: what the audit says, and the score of a perfect answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from cl_bench.config.presets import load_experiment
from cl_bench.config.schema import validate
from cl_bench.data.images import open_image
from cl_bench.errors import UserError
from cl_bench.kinds.base import Task
from cl_bench.kinds.detection.metric import average_precision
from cl_bench.kinds.keypoints import KeypointMetric
from cl_bench.tasks.audit import Audit
from cl_bench.tasks.catalog import load_catalog, pixels
from cl_bench.tasks.contact_sheet import contact_sheet
from cl_bench.tasks.from_folder import add

pytestmark = pytest.mark.slow

RED = np.array((220, 30, 30))
BOX = (6, 40, 20, 14)
"""Left, top, width, height of the one thing in the upright picture of 64 x 96."""


def picture(seed: int, size=(64, 96), box=BOX) -> Image.Image:
    found = np.random.default_rng(seed).integers(0, 90, (size[1], size[0], 3)).astype(np.uint8)
    left, top, width, height = box
    found[top : top + height, left : left + width] = RED
    return Image.fromarray(found)


def audited(root: Path, kind: str, format: str, classes=None, options=None) -> Audit:
    task = {"name": "own", "kind": kind, "data": {"format": format, "path": str(root), **(options or {})}}
    content = {"tasks": [{**task, **({"classes": list(classes)} if classes else {})}], "strategies": []}
    (entry,) = load_catalog(validate({"name": "own", "image_size": 64, **content}, "own.yaml"))
    return entry.audit


TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    6: Image.Transpose.ROTATE_90,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores an upright picture of each orientation."""


def save(image: Image.Image, file: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = image.transpose(TURNED[orientation])
    stored.save(file, exif=exif, **({"quality": 95} if file.suffix == ".jpg" else {}))


def photos(root: Path, orientation: int) -> Path:
    for split, count in (("train", 4), ("val", 3)):
        (root / split / "data").mkdir(parents=True)
        images, rows = [], []
        for i in range(count):
            save(picture(i + 10 * (split == "val")), root / split / "data" / f"{i}.jpg", orientation)
            images.append({"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 96})
            rows.append({"id": i, "image_id": i, "category_id": 1, "bbox": list(BOX), "iscrowd": 0})
        content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "thing"}]}
        (root / split / "labels.json").write_text(json.dumps(content))
    return root


def seen(image: Image.Image | np.ndarray) -> list[float]:
    """Return the box around what is red: a perfect detector."""
    y, x = np.nonzero(np.abs(np.asarray(image).astype(int) - RED).max(2) < 80)
    return [x.min(), y.min(), x.max() + 1, y.max() + 1]


@pytest.mark.parametrize("orientation", TURNED)
def test_a_perfect_detector_of_turned_photos_scores_one(tmp_path: Path, orientation: int) -> None:
    audit = audited(photos(tmp_path, orientation), "detection", "coco")
    assert "train: 4 images are turned upright, as their EXIF orientation says" in audit.findings
    assert "val: 3 images are turned upright, as their EXIF orientation says" in audit.findings
    decoded, _ = pixels(audit.task, audit.val, audit.val_fingerprint, 64)
    ap, sizes = average_precision(audit.task, audit.val)
    assert sizes == [(64, 96)] * 3
    for index, size in enumerate(sizes):
        box = np.array([seen(decoded[index])]) * np.tile(np.array(size) / 64, 2)
        ap.update(index, box, np.ones(1), np.zeros(1, int))
    assert ap.compute()["AP50"] == 1.0
    target = audit.task.kind.target(audit.task, audit.val.examples[0], None)["boxes"]
    np.testing.assert_allclose(target[0], np.array([6, 40 / 1.5, 26, 54 / 1.5]), atol=1e-4)
    sheet = np.asarray(contact_sheet(audit.task, audit.val, 1))
    yellow = np.nonzero((np.abs(sheet[:256, :256].astype(int) - (255, 255, 0))).max(2) < 60)
    assert (yellow[0].min(), yellow[0].max()) == pytest.approx((40 / 96 * 256, 54 / 96 * 256), abs=4)
    assert (yellow[1].min(), yellow[1].max()) == pytest.approx((6 / 64 * 256, 26 / 64 * 256), abs=4)


@pytest.mark.parametrize("orientation", TURNED)
def test_keypoints_are_of_the_upright_photo(tmp_path: Path, orientation: int) -> None:
    from cl_bench.data.base import Example, Split
    from cl_bench.plugins.registry import kinds

    save(picture(1), tmp_path / "a.jpg", orientation)
    kind = kinds.get("keypoints")
    example = Example("a", tmp_path / "a.jpg", ((6.0, 40.0), (60.0, 90.0)))
    task = Task(0, "k", kind, ("one", "two"), "heatmap", (8,), 32, kind.Settings())
    kind.check(example, task.classes)
    np.testing.assert_allclose(kind.target(task, example, None)["points"], [[3, 40 / 3], [30, 30]], atol=1e-4)
    metric = KeypointMetric(Split(task.classes, (example,)))
    metric.place([0], np.array([[[6 / 64, 40 / 96], [60 / 64, 90 / 96]]]))
    assert metric.compute()["PCK@0.05"] == 1.0


def masks(root: Path, orientation: int, turn_masks: bool) -> Path:
    for split, count in (("train", 3), ("val", 2)):
        (root / split).mkdir(parents=True)
        for i in range(count):
            save(picture(i + 10 * (split == "val")), root / split / f"{i}.jpg", orientation)
            mask = np.zeros((96, 64), np.uint8)
            mask[40:54, 6:26] = 1
            shown = Image.fromarray(mask)
            if turn_masks:
                save(shown, root / split / f"{i}.png", orientation)
            else:
                shown.save(root / split / f"{i}.png")
    return root


@pytest.mark.parametrize("turn_masks", [False, True])
@pytest.mark.parametrize("orientation", TURNED)
def test_masks_lie_on_turned_photos(tmp_path: Path, orientation: int, turn_masks: bool) -> None:
    audit = audited(masks(tmp_path, orientation, turn_masks), "segmentation", "voc", ("background", "thing"))
    assert audit.val_counts == {"background": 2 * (96 * 64 - 280), "thing": 2 * 280}
    images, found = pixels(audit.task, audit.val, audit.val_fingerprint, 64)
    red = np.abs(images[0].astype(int) - RED).max(2) < 80
    assert (red & (found[0] == 1)).sum() / (red | (found[0] == 1)).sum() > 0.85
    metric = audit.task.kind.metric(audit.task, audit.val)
    for index, example in enumerate(audit.val.examples):
        upright = np.asarray(open_image(example.image).resize((64, 64)))
        truth = np.abs(upright.astype(int) - RED).max(2) < 80
        logits = torch.from_numpy(np.stack([~truth, truth])[None]).float()
        metric.update(logits, [index])
    assert metric.compute()["mIoU"] > 0.9


@pytest.mark.parametrize("turn_masks", [False, True])
@pytest.mark.parametrize("orientation", [3, 6])
def test_masks_of_colours_are_warned_of_where_they_are_not_turned(
    tmp_path: Path, orientation: int, turn_masks: bool
) -> None:
    colours = {"colours": {"background": 0, "thing": 1}}
    audit = audited(masks(tmp_path, orientation, turn_masks), "segmentation", "voc", None, colours)
    assert audit.val_counts == {"background": 2 * (96 * 64 - 280), "thing": 2 * 280}
    _, found = pixels(audit.task, audit.val, audit.val_fingerprint, 96)
    y, x = np.nonzero(found[0])
    assert (y.min(), y.max() + 1, x.min(), x.max() + 1) == (40, 54, 9, 39)
    warned = [one for one in audit.findings if "are left as they are, taken to be of the upright one" in one]
    assert len(warned) == (0 if turn_masks else 2)


def test_a_mask_of_the_pixels_as_stored_is_refused_with_the_reason(tmp_path: Path) -> None:
    masks(tmp_path, 6, False)
    Image.open(tmp_path / "train" / "0.png").transpose(Image.Transpose.ROTATE_90).save(tmp_path / "train" / "0.png")
    with pytest.raises(UserError, match=r"0\.png is \(96, 64\) pixels, its image \(64, 96\), upright by its EXIF orie"):
        audited(tmp_path, "segmentation", "voc", ("background", "thing"))


def folders(root: Path, levels: dict[str, int], draw) -> Path:
    for split, count in (("train", 4), ("val", 2)):
        for name, level in levels.items():
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                noise = np.random.default_rng([i, level, split == "val"]).integers(0, 5000, (32, 32))
                draw(level + noise, root / split / name / f"{i}.png")
    return root


def means(audit: Audit) -> dict[str, float]:
    decoded, _ = pixels(audit.task, audit.train, audit.train_fingerprint, 16)
    shown: dict[str, list[float]] = {name: [] for name in audit.task.classes}
    for index, example in enumerate(audit.train.examples):
        shown[audit.task.classes[example.target]].append(float(decoded[index].mean()))
    return {name: float(np.mean(values)) for name, values in shown.items()}


def test_classes_of_sixteen_bits_stay_as_far_apart_as_they_are(tmp_path: Path) -> None:
    audit = audited(
        folders(
            tmp_path, {"dark": 10000, "light": 50000}, lambda v, file: Image.fromarray(v.astype(np.uint16)).save(file)
        ),
        "classification",
        "image_folder",
    )
    found = means(audit)
    assert found["dark"] == pytest.approx(12500 / 257, abs=1)
    assert found["light"] == pytest.approx(52500 / 257, abs=1)
    (said,) = (one for one in audit.findings if one.startswith("train: 8 images are 16-bit grey"))
    assert "scaled from 0..65535 to 8 bits; their largest value is 549" in said


def test_classes_under_transparency_are_what_viewers_show(tmp_path: Path) -> None:
    def draw(values: np.ndarray, file: Path) -> None:
        rgba = np.zeros((32, 32, 4), np.uint8)
        rgba[8:24, 8:24] = (0, 0, 0, 255)
        rgba[:8, :8, :3] = values[:8, :8, None] // 257  # what is hidden must not tell the classes apart
        Image.fromarray(rgba).save(file)

    audit = audited(folders(tmp_path, {"a": 10000, "b": 50000}, draw), "classification", "image_folder")
    assert means(audit) == {"a": pytest.approx(255 * 0.75, abs=1), "b": pytest.approx(255 * 0.75, abs=1)}
    assert "train: 8 images are transparent in places and laid on white" in audit.findings


def binary(root: Path, values: tuple[int, int], size: int = 30) -> Path:
    for split in ("train", "val"):
        (root / split).mkdir(parents=True)
        for i in range(2):
            picture(i + 10 * (split == "val"), (40, 50), (0, 0, 4, 4)).save(root / split / f"{i}.jpg")
            mask = np.full((50, 40), values[0], np.uint8)
            mask[:size, :40] = values[1]
            Image.fromarray(mask).save(root / split / f"{i}.png")
    return root


@pytest.mark.parametrize(
    ("values", "share", "lacking", "cure"),
    [
        ((0, 255), "60.0%", "object", "{background: 0, object: 255}"),
        ((255, 1), "40.0%", "background", "{background: 255, object: 1}"),
    ],
)
def test_masks_of_255_are_told_to_be_void_and_how_to_mean_a_class(tmp_path: Path, values, share, lacking, cure) -> None:
    said = f"class '{lacking}' of task own has no example in train; {share} of the pixels are 255, which is void"
    with pytest.raises(UserError, match=said) as error:
        audited(binary(tmp_path, values), "segmentation", "voc", ("background", "object"))
    assert f"`colours: {cure}` in the data" in str(error.value)
    colours = {"colours": yaml.safe_load(cure)}
    audit = audited(tmp_path, "segmentation", "voc", ("background", "object"), colours)
    lower, upper = 2 * 40 * 20, 2 * 40 * 30
    assert audit.train_counts == {"background": lower, "object": upper}
    assert audit.findings == ()
    _, masks = pixels(audit.task, audit.val, audit.val_fingerprint, 50)
    assert (masks[0][:30] == 1).all()
    assert (masks[0][30:] == 0).all()
    assert audited(tmp_path, "segmentation", "voc", None, colours).train_counts == audit.train_counts


def test_one_bit_masks_and_colours_of_no_class(tmp_path: Path) -> None:
    binary(tmp_path, (0, 255))
    for file in tmp_path.glob("*/*.png"):
        Image.open(file).convert("1").save(file)
    colours = {"colours": {"background": 0, "object": 255}}
    assert audited(tmp_path, "segmentation", "voc", None, colours).val_counts == {"background": 1600, "object": 2400}
    with pytest.raises(UserError, match=r"2 things are wrong: mask .*0\.png holds 255, which no class has"):
        audited(tmp_path, "segmentation", "voc", None, {"colours": {"background": 0, "object": 1}})
    with pytest.raises(UserError, match="unknown class for the `colours` of the data 'objekt'; did you mean 'object'"):
        audited(tmp_path, "segmentation", "voc", ("background", "objekt"), colours)


def test_masks_of_0_and_255_beside_their_images_are_found_out(tmp_path: Path) -> None:
    binary(tmp_path / "data", (0, 255))
    file, said = add("cracks", "", tmp_path / "data", tmp_path)
    assert "classes  2: background, foreground" in said
    (entry,) = load_catalog(load_experiment(str(file)))
    assert entry.audit.train_counts == {"background": 1600, "foreground": 2400}
    file, _ = add("named", "", tmp_path / "data", tmp_path, classes=["sound", "crack"])
    (entry,) = load_catalog(load_experiment(str(file)))
    assert entry.audit.train_counts == {"sound": 1600, "crack": 2400}


def test_much_void_is_told_of_where_no_class_is_lacking(tmp_path: Path) -> None:
    binary(tmp_path, (0, 255))
    for split in ("train", "val"):
        for file in (tmp_path / split).glob("*.png"):
            mask = np.array(Image.open(file))
            mask[-1] = 1
            Image.fromarray(mask).save(file)
    audit = audited(tmp_path, "segmentation", "voc", ("background", "object"))
    assert [one.split(",")[0] for one in audit.findings] == [
        "train: 60.0% of the pixels are 255",
        "val: 60.0% of the pixels are 255",
    ]


def test_little_void_is_as_usual_and_not_told_of(tmp_path: Path) -> None:
    binary(tmp_path, (0, 255), size=5)
    for split in ("train", "val"):
        for file in (tmp_path / split).glob("*.png"):
            mask = np.array(Image.open(file))
            mask[-1] = 1
            Image.fromarray(mask).save(file)
    assert audited(tmp_path, "segmentation", "voc", ("background", "object")).findings == ()


@pytest.mark.parametrize("size", [(192, 128), (96, 128), (96, 48)])
def test_boxes_of_another_size_are_refused(tmp_path: Path, size) -> None:
    photos(tmp_path, 3)
    file = tmp_path / "val" / "labels.json"
    content = json.loads(file.read_text())
    content["images"][1].update(width=size[0], height=size[1])
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"image 1 is declared as {size[0]} x {size[1]} pixels, but .* has 64 x 96"):
        audited(tmp_path, "detection", "coco")
