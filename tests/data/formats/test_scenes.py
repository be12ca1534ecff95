"""The embedded data: what is generated, that it is honest, and that the ordinary readers read it."""

from __future__ import annotations

import hashlib
import itertools
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cl_bench.data.base import Split
from cl_bench.data.formats import scenes
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

KINDS = ("segmentation", "detection", "classification")
SMALL = {"train": 40, "val": 20, "size": 96}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CL_BENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
        return {kind: scenes.generate(scenes.parse(SMALL), kind) for kind in KINDS}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path))
    return tmp_path


def read(sets: dict[str, Path], kind: str, split: str, monkeypatch: pytest.MonkeyPatch) -> Split:
    monkeypatch.setenv("CL_BENCH_CACHE", str(sets[kind].parents[2]))
    return formats.get("scenes").read(SMALL, kind, split, None)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def sources(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "sources.json").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_same_options_give_the_same_bytes(
    kind: str, sets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path))
    again = scenes.generate(scenes.parse(SMALL), kind)
    assert again != sets[kind]
    assert contents(again) == contents(sets[kind])


def test_no_digit_serves_two_splits_or_kinds(sets: dict[str, Path]) -> None:
    used = {
        (kind, split): {digit for image in sources(sets[kind])[split]["images"].values() for digit in image["digits"]}
        for kind in KINDS
        for split in ("train", "val")
    }
    assert all(used.values())
    for left, right in itertools.combinations(used, 2):
        assert not used[left] & used[right], (left, right)


def test_pools_of_digits_are_disjoint_and_hold_their_class_whatever_is_asked_for() -> None:
    from sklearn.datasets import load_digits

    labels, seen = load_digits().target, list[int]()
    for kind, split in itertools.product(KINDS, ("train", "val")):
        for digit, pool in enumerate(scenes.allot(scenes.parse({"seed": 7}), kind, split)):
            assert pool
            assert set(labels[pool]) == {digit}
            seen += pool
    assert len(seen) == len(set(seen)) == len(labels)


@pytest.mark.parametrize("kind", KINDS)
def test_no_pixel_of_a_photograph_serves_two_splits(kind: str, sets: dict[str, Path]) -> None:
    content = sources(sets[kind])
    columns: dict[str, set[int]] = {}
    for split in ("train", "val"):
        crops = [image["crop"] for image in content[split]["images"].values()]
        assert all(0 <= top < bottom <= 427 and right <= 640 for _, top, right, bottom in crops)
        columns[split] = {column for left, _, right, _ in crops for column in range(left, right)}
        assert {image["photograph"] for image in content[split]["images"].values()} == {"china.jpg", "flower.jpg"}
    assert max(columns["train"]) < min(columns["val"])


def test_no_two_image_files_are_equal(sets: dict[str, Path]) -> None:
    files = [path for folder in sets.values() for path in folder.rglob("*.jpg")]
    assert len(files) == 3 * 60
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in files}) == len(files)


def test_masks_hold_eleven_classes_and_void(sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    for split, count in (("train", 40), ("val", 20)):
        result = read(sets, "segmentation", split, monkeypatch)
        assert result.classes == ("background", *"0123456789")
        assert len(result.examples) == count
        masks = []
        for example in result.examples:
            with Image.open(example.target) as mask, Image.open(example.image) as image:
                assert mask.mode == "P"
                assert mask.size == image.size == (96, 96)
                masks.append(np.asarray(mask))
        assert set(np.unique(masks)) == {*range(11), 255}


def test_a_rim_of_void_parts_every_digit_from_the_background(sets: dict[str, Path]) -> None:
    for path in (sets["segmentation"] / "train").glob("*.png"):
        mask = np.asarray(Image.open(path))
        assert not np.isin(mask[[0, 1, -1, -2]], range(1, 11)).any()
        digit = (mask > 0) & (mask < 255)
        for axis, step in itertools.product((0, 1), (-2, -1, 1, 2)):
            neighbour = np.roll(mask, step, axis)[digit]
            assert ((neighbour == mask[digit]) | (neighbour == 255)).all(), path
        near = np.any([np.roll(digit, (y, x), (0, 1)) for y in range(-2, 3) for x in range(-2, 3)], axis=0)
        assert np.array_equal(mask > 0, near)


@pytest.mark.parametrize(("options", "kind"), [({}, "detection"), ({"objects": 4, "size": 64}, "segmentation")])
def test_boxes_are_tight_inside_and_apart(options: dict[str, int], kind: str) -> None:
    parsed = scenes.parse({"train": 20, **options})
    for scene in scenes.scenes(parsed, kind, "train"):
        taken = np.zeros(scene.mask.shape, int)
        for label, (left, top, right, bottom) in zip(scene.labels, scene.boxes, strict=True):
            assert 0 <= left < right <= parsed.size
            assert 0 <= top < bottom <= parsed.size
            inside = scene.mask[top:bottom, left:right] == label + 1
            assert inside.any(1)[[0, -1]].all()
            assert inside.any(0)[[0, -1]].all()
            taken[top:bottom, left:right] += 1
        assert taken.max() == 1
        assert not np.isin(scene.mask[taken == 0], range(1, 11)).any()


@pytest.mark.slow
def test_no_two_boxes_share_a_cell_at_stride_8_of_128_pixels() -> None:
    counts = set()
    for split in ("train", "val"):
        for scene in scenes.scenes(scenes.parse({}), "detection", split):
            centres = [((left + right) / 2, (top + bottom) / 2) for left, top, right, bottom in scene.boxes]
            cells = {(int(x * 128 / 160 / 8), int(y * 128 / 160 / 8)) for x, y in centres}
            assert len(cells) == len(centres), scene.name
            counts.add(len(centres))
    assert counts == {1, 2}


def test_coco_reader_finds_the_boxes(sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    result = read(sets, "detection", "val", monkeypatch)
    made = list(scenes.scenes(scenes.parse(SMALL), "detection", "val"))
    assert result.classes == tuple("0123456789")
    assert [example.name for example in result.examples] == [scene.name for scene in made]
    for example, scene in zip(result.examples, made, strict=True):
        assert example.target.xyxy.tolist() == [list(map(float, box)) for box in scene.boxes]
        assert example.target.labels.tolist() == list(scene.labels)
        assert not example.target.crowd.any()


def test_folder_reader_finds_the_classes(sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from sklearn.datasets import load_digits

    labels = load_digits().target
    for split, count in (("train", 4), ("val", 2)):
        result = read(sets, "classification", split, monkeypatch)
        assert result.classes == tuple("0123456789")
        assert np.bincount([example.target for example in result.examples]).tolist() == [count] * 10
        images = sources(sets["classification"])[split]["images"]
        for example in result.examples:
            assert labels[images[example.image.stem]["digits"]].tolist() == [example.target]


@pytest.mark.parametrize("kind", KINDS)
def test_classes_are_balanced(kind: str) -> None:
    for split in ("train", "val"):
        made = scenes.scenes(scenes.parse(SMALL), kind, split)
        counts = np.bincount([label for scene in made for label in scene.labels], minlength=10)
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1


def test_digits_stand_out_and_kinds_look_different() -> None:
    brightness: dict[str, float] = {}
    for kind in KINDS:
        made = list(scenes.scenes(scenes.parse(SMALL), kind, "val"))
        for scene in made:
            grey = scene.image.mean(2)
            for label, (left, top, right, bottom) in zip(scene.labels, scene.boxes, strict=True):
                inside = (slice(top, bottom), slice(left, right))
                ink, ground = scene.mask[inside] == label + 1, scene.mask[inside] == 0
                if ground.any():
                    assert abs(grey[inside][ink].mean() - grey[inside][ground].mean()) > 50, (kind, scene.name)
        brightness[kind] = float(np.mean([scene.image for scene in made]))
    assert brightness["detection"] > brightness["segmentation"] + 50
    saturation = {
        kind: float(
            np.mean(
                [np.ptp(scene.image.astype(int), axis=2) for scene in scenes.scenes(scenes.parse(SMALL), kind, "val")]
            )
        )
        for kind in ("segmentation", "classification")
    }
    assert saturation["segmentation"] > 2 * saturation["classification"]


def test_what_is_there_is_not_generated_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = scenes.parse({"train": 10, "val": 10, "size": 64})
    folder = scenes.generate(options, "detection")
    monkeypatch.setattr(scenes, "_write", lambda *_: pytest.fail("generated again"))
    assert scenes.generate(options, "detection") == folder
    assert folder.is_relative_to(cache / "scenes")


def test_other_options_lie_in_another_folder(cache: Path) -> None:
    small = {"train": 10, "val": 10, "size": 64}
    first, second = (scenes.generate(scenes.parse({**small, "seed": seed}), "classification") for seed in (0, 1))
    assert first.parent != second.parent
    assert not {*contents(first).values()} & {*contents(second).values()}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_generation_leaves_nothing(stop: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = scenes.parse({"train": 10, "val": 10, "size": 64})
    made = list(scenes.scenes(options, "segmentation", "train"))

    def break_off(*_: object) -> Any:
        yield from made[:5]
        raise stop

    with monkeypatch.context() as patch:
        patch.setattr(scenes, "scenes", break_off)
        with pytest.raises((KeyboardInterrupt, UserError)) as caught:
            scenes.generate(options, "segmentation")
    assert caught.type is KeyboardInterrupt or "No space left on device" in str(caught.value)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert len(list((scenes.generate(options, "segmentation") / "train").iterdir())) == 20


def test_two_that_generate_at_once_agree(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = scenes.parse({"train": 10, "val": 10, "size": 64})
    meet, write, found = threading.Barrier(2, timeout=60), scenes._write, list[Path]()

    def write_together(*arguments: Any) -> None:
        write(*arguments)
        meet.wait()

    monkeypatch.setattr(scenes, "_write", write_together)
    threads = [threading.Thread(target=lambda: found.append(scenes.generate(options, "detection"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[0]] * 2 == found
    assert [path.name for path in found[0].parent.iterdir()] == ["detection"]
    assert len(list((found[0] / "val" / "data").iterdir())) == 10


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"trian": 3}, "unknown option of data format scenes 'trian'; did you mean 'train'"),
        ({"train": "many"}, "train"),
        ({"val": True}, "val"),
        ({"size": 1.5}, "size"),
        ({"seed": -1}, "seed"),
        ({"objects": 0}, "objects"),
        ({"scale": [0.6, 0.4]}, "scale"),
        ({"scale": [0.4]}, "scale"),
        ({"scale": [0.4, "x"]}, "scale"),
        ({"scale": [float("nan"), 0.5]}, "scale"),
    ],
)
def test_bad_options_are_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as caught:
        formats.get("scenes").read(options, "detection", "train", None)
    assert "scenes" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_kind_and_foreign_classes_of_masks_are_errors(
    sets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CL_BENCH_CACHE", str(sets["segmentation"].parents[2]))
    with pytest.raises(UserError, match="did you mean 'segmentation'"):
        formats.get("scenes").read(SMALL, "segmentatoin", "train", None)
    with pytest.raises(UserError, match="classes of its masks"):
        formats.get("scenes").read(SMALL, "segmentation", "train", ("background", "1"))


def test_an_unwritable_cache_is_named(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cache / "file").touch()
    monkeypatch.setenv("CL_BENCH_CACHE", str(cache / "file"))
    with pytest.raises(UserError, match="cannot write to"):
        scenes.generate(scenes.parse({}), "detection")
