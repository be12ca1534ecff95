"""The three subsets, cut out of small archives of the same form that a server on this machine serves."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from servers import Server, serving

from cl_bench.data.prepare.recipes import COCO_CLASSES, RECIPES, Archive, Sources, choose
from cl_bench.data.prepare.subsets import prepare
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

NAMES = tuple(RECIPES)
USELESS = (997, 998, 999)
"""Images of COCO in which none of the ten classes can be found."""
COCO_IDS = dict(zip(COCO_CLASSES, (1, 3, 18, 17, 62, 67, 84, 44, 47, 16), strict=True))
SIZES = {"train": 6, "val": 3}
SEEDS = {"val": [100, 101, 102], "train": [100, 101, 102, *range(7)]}
"""The photographs of each split of VOC and COCO: those of val are in train too, under other names."""


def photo(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)).save(out, "JPEG")
    return out.getvalue()


def voc_tar(order: int = 1) -> bytes:
    files: dict[str, bytes] = {}
    for split in ("train", "val"):
        names = [f"{split}_{seed:06d}" for seed in SEEDS[split]][::order]
        files[f"ImageSets/Segmentation/{split}.txt"] = "\n".join(names).encode() + b"\n"
        for index, seed in enumerate(SEEDS[split]):
            classes = [*range(index % 3, 21, 3), 255]  # a third of the classes in each image
            mask = Image.fromarray(np.resize(np.array(classes, np.uint8), (6, 8)))
            mask.putpalette(list(range(256)) * 3)
            out = io.BytesIO()
            mask.save(out, "PNG")
            files[f"SegmentationClass/{split}_{seed:06d}.png"] = out.getvalue()
            files[f"JPEGImages/{split}_{seed:06d}.jpg"] = photo(seed)
    files["JPEGImages/unlisted.jpg"] = photo(999)
    return tar({f"VOCdevkit/VOC2012/{name}": content for name, content in files.items()}, order)


def tar(files: dict[str, bytes], order: int = 1, mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as bundle:
        for name in list(files)[::order]:
            info = tarfile.TarInfo(name)
            info.size = len(files[name])
            bundle.addfile(info, io.BytesIO(files[name]))
    return out.getvalue()


def coco_zip(order: int = 1) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as bundle:
        for split in ("train", "val")[::order]:
            bundle.writestr(f"annotations/instances_{split}2017.json", json.dumps(coco_document(split, order)))
        bundle.writestr("annotations/captions_val2017.json", "{}")
    return out.getvalue()


def coco_document(split: str, order: int) -> dict[str, Any]:
    """Return annotations with a third of the classes in each image, and images with nothing, a crowd, a zebra only."""
    categories = [{"id": number, "name": name} for name, number in {**COCO_IDS, "zebra": 24}.items()]
    boxes = [
        (seed, category, 0)
        for index, seed in enumerate(SEEDS[split])
        for category in [*COCO_IDS.values()][index % 3 :: 3]
    ]
    boxes += [(USELESS[1], 1, 1), (USELESS[2], 24, 0), (100, 1, 1), (100, 24, 0)]
    images = [
        {"id": seed, "file_name": f"{split}{seed:012d}.jpg", "width": 8, "height": 6}
        for seed in [*SEEDS[split], *USELESS]
    ]
    annotations = [
        {"id": 50 + index, "image_id": image, "category_id": category, "iscrowd": crowd, "bbox": [1, 1, 3, 2]}
        | {"area": 6, "segmentation": {"size": [6, 8], "counts": [48]} if crowd else [[1, 1, 4, 1, 4, 3]]}
        for index, (image, category, crowd) in enumerate(boxes)
    ]
    return {"categories": categories[::order], "images": images[::order], "annotations": annotations[::order]}


def imagenette_tgz(order: int = 1) -> bytes:
    files = {
        f"imagenette2-160/{split}/n0000000{label}/{split}_{label}_{seed}.JPEG": photo(label * 1000 + seed)
        for split in ("train", "val")
        for label in range(3)
        for seed in SEEDS[split][2:]  # in val one of each class
    }
    return tar(
        {**files, "imagenette2-160/noisy.csv": b"", "imagenette2-160/val/n00000000/._x.JPEG": b""}, order, "w:gz"
    )


def serve(server: Server, order: int = 1) -> Sources:
    def archive(path: str, content: bytes) -> Archive:
        server.files[path] = content
        return Archive(server.url + path, hashlib.md5(content).hexdigest())

    for split in ("train", "val"):
        server.files |= {f"/{split}2017/{split}{seed:012d}.jpg": photo(seed) for seed in SEEDS[split]}
    return Sources(
        voc=archive("/voc.tar", voc_tar(order)),
        coco_annotations=archive("/coco.zip", coco_zip(order)),
        coco_images=server.url,
        imagenette=archive("/nette.tgz", imagenette_tgz(order)),
    )


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "cache"))
    with serving(monkeypatch) as one:
        yield one


@pytest.fixture
def make(server: Server, tmp_path: Path) -> Callable[..., Path]:
    sources = serve(server)
    defaults = {"sources": sources, "test": 0, **SIZES}
    return lambda name, **options: prepare(name, tmp_path / "data", **{**defaults, **options})


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_voc_is_cut_from_its_lists_with_all_classes(make: Callable[..., Path]) -> None:
    folder = make("mini_voc_seg")
    files = files_of(folder)
    val = {f"val/val_{seed:06d}.{suffix}" for seed in SEEDS["val"] for suffix in ("jpg", "png")}
    assert {name for name in files if name.startswith("val/")} == val
    assert len([name for name in files if name.startswith("train/") and name.endswith(".jpg")]) == 6
    assert files["val/val_000100.jpg"] == photo(100)
    split = formats.get("voc").read({"path": str(folder)}, "segmentation", "train", None)
    masks = [np.asarray(Image.open(example.target)) for example in split.examples]
    assert {value for mask in masks for value in np.unique(mask)} == {*range(21), 255}


def test_coco_keeps_its_ids_ten_classes_and_crowds(make: Callable[..., Path], server: Server) -> None:
    folder = make("mini_coco_det")
    labels = {split: json.loads((folder / split / "labels.json").read_text()) for split in SIZES}
    for split, size in SIZES.items():
        assert {one["name"]: one["id"] for one in labels[split]["categories"]} == COCO_IDS
        assert {one["category_id"] for one in labels[split]["annotations"]} == set(COCO_IDS.values())
        images = {one["file_name"]: one["id"] for one in labels[split]["images"]}
        assert sorted(images) == sorted(path.name for path in (folder / split / "data").iterdir())
        assert len(images) == size
        assert {one["image_id"] for one in labels[split]["annotations"]} == set(images.values())
    assert {one["id"] for one in labels["train"]["images"]} <= set(range(7))
    assert [one["image_id"] for one in labels["val"]["annotations"] if one["iscrowd"]] == [100]
    assert not any("segmentation" in one for one in labels["val"]["annotations"])
    read = formats.get("coco").read({"path": str(folder)}, "detection", "val", COCO_CLASSES)
    assert [len(example.target.xyxy) for example in read.examples] == [5, 3, 3]
    asked = [path for path, _ in server.requests if path.endswith(".jpg")]
    assert {path for path in asked if path.startswith("/val")} == {
        f"/val2017/val{seed:012d}.jpg" for seed in SEEDS["val"]
    }
    assert len(asked) <= 3 + 6 + 3  # no image but those taken and the doubles of val


def test_imagenette_has_as_many_of_each_class(make: Callable[..., Path]) -> None:
    folder = make("imagenette_160")
    counts = Counter(str(path.parent.relative_to(folder)) for path in folder.rglob("*.JPEG"))
    assert counts == {f"{split}/n0000000{label}": size // 3 for split, size in SIZES.items() for label in range(3)}
    split = formats.get("image_folder").read({"path": str(folder)}, "classification", "train", None)
    assert len(split.examples) == 6


@pytest.mark.parametrize("name", NAMES)
def test_train_and_val_share_no_image(make: Callable[..., Path], name: str) -> None:
    files = files_of(make(name))
    images = {
        split: {content for path, content in files.items() if path.startswith(split) and path.endswith(("jpg", "JPEG"))}
        for split in SIZES
    }
    assert {split: len(contents) for split, contents in images.items()} == SIZES
    assert not images["train"] & images["val"]


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_archives_and_lists_changes_nothing(server: Server, tmp_path: Path, name: str) -> None:
    found = []
    for order in (1, -1):
        sources = serve(server, order)
        files = files_of(prepare(name, tmp_path / str(order), sources=sources, test=0, **SIZES))
        found.append({path: content for path, content in files.items() if path != "MANIFEST.json"})
    assert found[0] == found[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_names_all_files_and_sources(make: Callable[..., Path], server: Server, name: str) -> None:
    files = files_of(make(name))
    manifest = json.loads(files.pop("MANIFEST.json"))
    assert manifest["schema"] == 1
    assert manifest["files"] == {path: hashlib.sha256(content).hexdigest() for path, content in files.items()}
    assert all(source["url"].startswith(server.url) for source in manifest["sources"])
    archive = manifest["sources"][0]
    content = server.files[archive["url"].removeprefix(server.url)]
    assert archive["md5"] == hashlib.md5(content).hexdigest()


def test_a_second_run_says_so_and_asks_no_server(server: Server, tmp_path: Path) -> None:
    sources = serve(server)
    folders = [prepare(name, tmp_path, sources=sources, test=0, **SIZES) for name in NAMES]
    assert folders == [tmp_path / name for name in NAMES]
    before, asked, said = [files_of(folder) for folder in folders], len(server.requests), []
    for name in NAMES:
        prepare(name, tmp_path, sources=sources, progress=lambda *state: said.append(state), test=0, **SIZES)
    assert said == [(f"{name} is already in {tmp_path / name}", 1, 1) for name in NAMES]
    assert len(server.requests) == asked
    assert [files_of(folder) for folder in folders] == before


@pytest.mark.parametrize("name", NAMES)
def test_an_interruption_leaves_no_half_data_set_and_the_next_run_makes_it(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            "cl_bench.data.prepare.subsets._write_manifest", interrupt
        )  # all is written but not yet in its place
        with pytest.raises(KeyboardInterrupt):
            make(name)
    assert list((tmp_path / "data").iterdir()) == []
    assert (make(name) / "MANIFEST.json").is_file()
    assert [path.name for path in (tmp_path / "data").iterdir()] == [name]


def test_a_coco_image_that_ends_early_is_an_error_that_names_it(
    make: Callable[..., Path], server: Server, tmp_path: Path
) -> None:
    path = "/val2017/val000000000101.jpg"
    whole, server.files[path] = server.files[path], server.files[path][:-60]
    with pytest.raises(UserError, match=f"{server.url}{path} is not the expected file .it is not a whole image"):
        make("mini_coco_det")
    assert list((tmp_path / "data").iterdir()) == []
    server.files[path], server.cuts[path] = whole, [100]
    assert make("mini_coco_det").is_dir()
    assert (path, "bytes=100-") in server.requests


def test_a_coco_image_of_another_size_or_missing_is_an_error(make: Callable[..., Path], server: Server) -> None:
    path = "/val2017/val000000000101.jpg"
    out = io.BytesIO()
    Image.new("RGB", (6, 8)).save(out, "JPEG")
    server.files[path] = out.getvalue()
    with pytest.raises(UserError, match=f"{path} is not the expected file .it is 6x8 pixels and not 8x6"):
        make("mini_coco_det")
    del server.files[path]
    with pytest.raises(UserError, match=f"{path}: the server answered 404"):
        make("mini_coco_det")


@pytest.mark.parametrize(
    ("name", "path"), [("mini_voc_seg", "/voc.tar"), ("mini_coco_det", "/coco.zip"), ("imagenette_160", "/nette.tgz")]
)
def test_a_damaged_archive_is_an_error(server: Server, tmp_path: Path, name: str, path: str) -> None:
    sources = serve(server)
    server.files[path] = server.files[path][: len(server.files[path]) // 2]
    with pytest.raises(UserError, match=f"{server.url}{path} is not the expected file"):
        prepare(name, tmp_path / "data", sources=sources, test=0, **SIZES)
    half = Archive(server.url + path, hashlib.md5(server.files[path]).hexdigest())  # as published, and damaged
    with pytest.raises(UserError, match=f"archive .*{path} (is damaged|has no )"):
        prepare(name, tmp_path / "data", sources=Sources(half, half, server.url, half), test=0, **SIZES)
    assert list((tmp_path / "data").iterdir()) == []


def test_what_cannot_be_prepared_is_said(make: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown data set 'mini_voc'; did you mean 'mini_voc_seg'"):
        make("mini_voc")
    with pytest.raises(UserError, match="8 different images are asked for, but there are only 7"):
        make("mini_voc_seg", train=8)
    with pytest.raises(UserError, match=r"no image of class .* is among the 2 chosen ones"):
        make("mini_coco_det", train=2)
    (tmp_path / "data" / "imagenette_160").mkdir()
    with pytest.raises(UserError, match=r"imagenette_160 exists but was not made by this command"):
        make("imagenette_160")


def test_the_choice_is_pinned_and_balanced_and_finds_a_rare_class() -> None:
    candidates = {f"{label}{index}": [label] for label in "abc" for index in range(9)}
    chosen = choose(candidates, "abc", 6, lambda _: True)
    assert chosen == ["a0", "a3", "b4", "b5", "c3", "c5"]
    assert choose(dict(reversed(candidates.items())), "cba", 6, lambda _: True) == chosen
    assert chosen[0] not in choose(candidates, "abc", 6, lambda name: name != chosen[0])
    rare = {f"{index}": {0, 1} | ({2} if index == 57 else set()) for index in range(300)}
    assert "57" in choose(rare, range(3), 2, lambda _: True)
