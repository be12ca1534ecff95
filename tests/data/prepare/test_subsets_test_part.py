"""The test parts of the subsets: taken of what train and val leave, which stay as they are without."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import test_subsets as small
from servers import Server, serving
from test_subsets import NAMES, files_of, photo

from cl_bench.data.base import has_test
from cl_bench.data.prepare.recipes import COCO_CLASSES, Archive, Sources
from cl_bench.data.prepare.subsets import prepare
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

SIZES = {"train": 6, "val": 3}
READERS = {
    "mini_voc_seg": ("voc", "segmentation", None),
    "mini_coco_det": ("coco", "detection", COCO_CLASSES),
    "imagenette_160": ("image_folder", "classification", None),
}


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sources]:
    """Serve archives whose val has more images than our val takes, three of which are in train, too."""
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(small, "SEEDS", {"val": list(range(100, 115)), "train": [100, 101, 102, *range(7)]})
    with serving(monkeypatch) as server:
        served = small.serve(server)
        yield Sources(served.voc, served.coco_annotations, served.coco_images, imagenette(server))


def imagenette(server: Server) -> Archive:
    """Serve an archive with four of ImageNet's own validation images a class, spread over both parts."""
    files = {}
    for label in range(3):
        for index in range(12):
            split = "val" if index < 5 else "train"
            number = 100 * label + index
            name = f"ILSVRC2012_val_{number:08d}" if index % 3 == 0 else f"n0000000{label}_{number}"
            files[f"imagenette2-160/{split}/n0000000{label}/{name}.JPEG"] = photo(number)
    content = small.tar(files, mode="w:gz")
    server.files["/own.tgz"] = content
    return Archive(server.url + "/own.tgz", hashlib.md5(content).hexdigest())


@pytest.mark.parametrize("name", NAMES)
def test_train_and_val_are_the_same_with_and_without_a_test_part(sources: Sources, tmp_path: Path, name: str) -> None:
    without = files_of(prepare(name, tmp_path / "without", sources=sources, test=0, **SIZES))
    files = files_of(prepare(name, tmp_path / "with", sources=sources, test=3, **SIZES))
    assert not any(path.startswith("test/") for path in without)
    assert json.loads(files.pop("MANIFEST.json"))["files"].keys() == files.keys()
    del without["MANIFEST.json"]
    assert {path: content for path, content in files.items() if not path.startswith("test/")} == without


@pytest.mark.parametrize("name", NAMES)
def test_the_test_part_is_read_and_shares_no_image(sources: Sources, tmp_path: Path, name: str) -> None:
    folder = prepare(name, tmp_path, sources=sources, test=3, **SIZES)
    format, kind, classes = READERS[name]
    source, options = formats.get(format), {"path": str(folder)}
    assert has_test(source, options, kind)
    seen = Counter[bytes]()
    for split, count in {**SIZES, "test": 3}.items():
        examples = source.read(options, kind, split, classes).examples
        assert len(examples) == count
        seen.update(example.image.read_bytes() for example in examples)
    assert set(seen.values()) == {1}


def test_test_images_are_those_of_the_official_val_that_are_left(sources: Sources, tmp_path: Path) -> None:
    for name, pattern in (("mini_voc_seg", "test/*.jpg"), ("mini_coco_det", "test/data/*.jpg")):
        folder = prepare(name, tmp_path, sources=sources, test=5, **SIZES)
        found = [path.name for path in folder.glob(pattern)]
        assert len(found) == 5
        assert all(path.startswith("val") for path in found)
    folder = prepare("imagenette_160", tmp_path, sources=sources, test=6, **SIZES)
    found = [path.relative_to(folder).as_posix() for path in folder.glob("test/*/*.JPEG")]
    assert Counter(path.split("/")[1] for path in found) == dict.fromkeys((f"n0000000{label}" for label in range(3)), 2)
    assert all(path.split("/")[2].startswith("ILSVRC2012_val_") for path in found)


def test_more_test_images_than_are_left_are_refused(sources: Sources, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="600 different images are asked for, but there are only"):
        prepare("mini_voc_seg", tmp_path, sources=sources, **SIZES)
    assert list(tmp_path.glob("mini_voc_seg*")) == []


def test_a_set_of_before_is_left_alone_and_how_to_get_a_test_part_is_said(sources: Sources, tmp_path: Path) -> None:
    folder = prepare("imagenette_160", tmp_path, sources=sources, test=0, **SIZES)
    before, said = files_of(folder), list[str]()
    for test in (None, 0):
        prepare("imagenette_160", tmp_path, sources=sources, test=test, progress=lambda what, *_: said.append(what))
    hint = ", without a test part: move it away and prepare it again to get one"
    assert said == [f"imagenette_160 is already in {folder}{end}" for end in (hint, "")]
    assert files_of(folder) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_set_of_other_sizes_than_asked_for_is_not_taken_for_it(sources: Sources, tmp_path: Path, name: str) -> None:
    folder = prepare(name, tmp_path, sources=sources, test=0, **SIZES)
    assert prepare(name, tmp_path, sources=sources, **SIZES) == folder
    with pytest.raises(UserError) as error:
        prepare(name, tmp_path, sources=sources, train=SIZES["train"], val=7, test=3)
    there = f"val {SIZES['val']}, test 0 images, not val 7, test 3"
    assert str(error.value) == f"{folder} has {there}: move it away, or prepare in another folder"
    (folder / "MANIFEST.json").write_text("{")
    with pytest.raises(UserError, match="is damaged: move"):
        prepare(name, tmp_path, sources=sources)
