"""The test part of embedded data: what it shares with train and val (nothing), and that these stay as they were."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import PIL
import pytest

from cl_bench.data.base import has_test
from cl_bench.data.embedded import samples
from cl_bench.data.formats import cards, scenes
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

pytestmark = pytest.mark.slow

KINDS = ("segmentation", "detection", "classification")
SMALL = {"train": 12, "val": 10, "size": 64}
OTHER = {"train": 30, "val": 11, "size": 96, "seed": 3}
SETS = {
    ("segmentation", 0): ("scenes", SMALL, "08acf1bb59fe08aa68860827211663b0a56785794ade18c9db207eb679f6d54b"),
    ("segmentation", 1): ("scenes", OTHER, "abf42cb850ded162c517bd3482667ba360f98b91a06c3f6d0d410304a52a59d2"),
    ("detection", 0): ("scenes", SMALL, "7b379d53038609c34f340d4671630af21cc2d65d09177a6515d754aabf50822d"),
    ("detection", 1): ("scenes", OTHER, "e279bb556b868de0a9e5d94027b5b9e1ac3090418e129ed1c7eda4643cbb0cad"),
    ("classification", 0): ("scenes", SMALL, "9e9f720c5bff6393f6d301e3767436914acd29b522593d2a0654108509b517f5"),
    ("classification", 1): ("scenes", OTHER, "eb6fe5db06c0d41a512034de318c0b006b3ed0c628b6bfd8463d7789a69f6b91"),
    ("keypoints", 0): ("cards", SMALL, "5603cb2cb2a5910fd8562c8b068ef5116df88e2ca6a59aaf5baee61c42cbb028"),
    ("keypoints", 1): ("cards", OTHER, "3ece428d4bf5d72a909d98629521fdec1827f4c07c45bfeb55b52b2a8835c7c5"),
}
"""SHA-256 over the paths in the cache and the bytes of train and val, from before there was a test part."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path))
    return tmp_path


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def digest(root: Path) -> str:
    """Return the hash of all files below `root`, of their paths and bytes."""
    found = hashlib.sha256()
    for path, content in contents(root).items():
        found.update(path.relative_to(root).as_posix().encode())
        found.update(hashlib.sha256(content).digest())
    return found.hexdigest()


@pytest.mark.skipif(PIL.__version__ != "13.0.0", reason="another release of Pillow may round pixels in another way")
@pytest.mark.parametrize(("kind", "number"), SETS)
@pytest.mark.parametrize("test", [{}, {"test": 11}])
def test_train_and_val_are_what_they_were_whatever_test_is(
    cache: Path, kind: str, number: int, test: dict[str, int]
) -> None:
    name, options, expected = SETS[kind, number]
    more = {"objects": 3, "scale": [0.3, 0.6]} if name == "scenes" and number else {}
    for split in ("train", "val"):
        formats.get(name).read({**options, **more, **test}, kind, split, None)
    assert digest(cache) == expected


@pytest.mark.parametrize("kind", [*KINDS, "keypoints"])
def test_the_test_part_lies_in_a_folder_of_its_own_with_as_many_images_as_asked_for(cache: Path, kind: str) -> None:
    source = formats.get("cards" if kind == "keypoints" else "scenes")
    assert not has_test(source, SMALL, kind)
    with pytest.raises(UserError, match="there is no test part where test is 0"):
        source.read(SMALL, kind, "test", None)
    train = source.read({**SMALL, "test": 11}, kind, "train", None)
    assert has_test(source, {**SMALL, "test": 11}, kind)
    before = contents(cache)
    found = source.read({**SMALL, "test": 11}, kind, "test", None)
    assert len(found.examples) == 11
    assert found.classes == train.classes
    test = {example.image for example in found.examples}
    after = contents(cache)
    assert after.items() > before.items()
    assert test <= after.keys() - before.keys()
    for change in ({"test": 12}, {"train": 13}, {"seed": 1}):  # what decides the test part leads to another folder
        other = source.read({**SMALL, "test": 11, **change}, kind, "test", None)
        assert other.examples[0].image not in test
    again = source.read({**SMALL, "test": 11, "val": 20}, kind, "test", None)
    assert again.examples[0].image in test


def sources(options: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    """Return what each image is made from, by split."""
    parsed = scenes.parse(options)
    found = {}
    for split in ("train", "val", "test"):
        content = json.loads((scenes.generate(parsed, kind, split) / "sources.json").read_text())
        found[split] = content[split]["images"]
    return found


def test_no_digit_and_no_photograph_of_test_serves_another_part_or_kind(cache: Path) -> None:
    made = {one: sources({"train": 60, "val": 20, "test": 80, "size": 64}, one) for one in KINDS}
    used = {
        (one, split): {digit for image in made[one][split].values() for digit in image["digits"]}
        for one, split in itertools.product(KINDS, ("train", "val", "test"))
    }
    assert all(used.values())
    for left, right in itertools.combinations(used, 2):
        assert not used[left] & used[right], (left, right)
    for kind, split in used:
        photographs = {image["photograph"] for image in made[kind][split].values()}
        assert photographs == ({"grace_hopper.jpg"} if split == "test" else {"china.jpg", "flower.jpg"})


@pytest.mark.parametrize("kind", KINDS)
def test_test_is_balanced_and_made_like_the_others(cache: Path, kind: str) -> None:
    options = scenes.parse({"train": 40, "val": 20, "test": 40, "size": 96})
    made = {split: list(scenes.scenes(options, kind, split)) for split in ("val", "test")}
    counts = np.bincount([label for scene in made["test"] for label in scene.labels], minlength=10)
    assert counts.max() - counts.min() <= 1
    for scene in made["test"]:
        labels = samples.digits()[1][scene.source["digits"]]
        assert labels.tolist() == list(scene.labels)
        grey = scene.image.mean(2)
        ink, ground = (scene.mask > 0) & (scene.mask < 255), scene.mask == 0
        assert abs(grey[ink].mean() - grey[ground].mean()) > 50, scene.name
    shares = {split: np.mean([scene.mask > 0 for scene in found]) for split, found in made.items()}
    assert shares["test"] == pytest.approx(shares["val"], rel=0.25)


@pytest.mark.parametrize("kind", KINDS)
def test_too_large_a_train_leaves_no_digits_and_the_largest_is_named(cache: Path, kind: str) -> None:
    with pytest.raises(UserError, match=r"scenes: a test part needs 4 digits .* 900 .*\d would leave") as caught:
        formats.get("scenes").read({"train": 900, "test": 10}, kind, "test", None)
    largest = int(str(caught.value).split("; ")[1].split()[0])
    pools = scenes.allot(scenes.parse({"train": largest, "test": 10}), kind, "test")
    assert min(map(len, pools)) >= 4
    with pytest.raises(UserError, match=f"; {largest} would leave enough"):
        scenes.allot(scenes.parse({"train": largest + 1, "test": 10}), kind, "test")


@pytest.mark.parametrize("test", [1, 9, -1, 10_000, 2.5, "many"])
def test_a_number_of_test_images_that_cannot_be_is_named(test: object) -> None:
    with pytest.raises(UserError, match="data format scenes: test"):
        formats.get("scenes").read({"test": test}, "detection", "train", None)


def test_no_digit_of_a_test_card_is_on_a_card_of_train_or_val(cache: Path) -> None:
    options = cards.Options(train=300, val=50, test=200)
    counts = {"train": options.train, "val": options.val, "test": options.test}
    used = {
        split: {cards.layout(options, split, index).digit for index in range(count)} for split, count in counts.items()
    }
    assert not used["test"] & (used["train"] | used["val"])
    assert len(used["test"]) > 150
    for index in range(20):
        corners = cards.card(options, "test", index)[1]
        assert np.min(corners) >= 0
        assert np.max(corners) <= options.size


def test_too_many_cards_of_train_leave_no_digits_and_the_largest_number_is_named(cache: Path) -> None:
    with pytest.raises(UserError, match=r"cards: a test part needs 40 digits .* 9999 .*\d would leave") as caught:
        formats.get("cards").read({"train": 9999, "test": 10, "size": 64}, "keypoints", "test", None)
    largest = int(str(caught.value).split("; ")[1].split()[0])
    assert cards.layout(cards.Options(train=largest, test=10, size=64), "test", 0).digit in range(1400)
    with pytest.raises(UserError, match=f"; {largest} would leave enough"):
        cards.layout(cards.Options(train=largest + 1, test=10, size=64), "test", 0)


def test_cards_larger_than_the_photographs_allow_are_refused(cache: Path) -> None:
    cards.card(cards.Options(size=852), "train", 0)
    with pytest.raises(UserError, match="data format cards: size"):
        formats.get("cards").read({"size": 853}, "keypoints", "train", None)


@pytest.mark.parametrize(("name", "kind"), [("scenes", "detection"), ("cards", "keypoints")])
def test_a_missing_photograph_is_one_clear_sentence(
    cache: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    samples._matplotlib.cache_clear()
    monkeypatch.setattr(matplotlib.cbook, "get_sample_data", lambda *_, **__: cache / "gone.jpg")
    source, options = formats.get(name), {**SMALL, "test": 10}
    assert len(source.read(options, kind, "train", None).examples) == 12
    with pytest.raises(UserError, match=r"embedded test data needs grace_hopper\.jpg, which comes with matplotlib"):
        source.read(options, kind, "test", None)
