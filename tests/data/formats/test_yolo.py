"""The YOLO reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from cl_bench.data.base import Split, has_test
from cl_bench.data.layouts import layouts
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

ROW = "1 0.5 0.5 0.2 0.4"
"""A dog; in the 20 x 10 pixels of each image: (8, 3, 12, 7)."""


def images(folder: Path, **rows: str | None) -> None:
    """Write images and, in labels/ beside the last images/, their rows; None: no text."""
    labels = Path(*("labels" if part == "images" else part for part in folder.parts))
    for name, text in rows.items():
        for place in (folder, labels):
            place.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 10)).save(folder / f"{name}.jpg")
        if text is not None:
            (labels / f"{name}.txt").write_text(text)


def ultralytics(root: Path) -> Path:
    """Write the layout of its documentation, whose `path` is of another machine."""
    for split in ("train", "val"):
        images(root / "images" / split, a=ROW, b="")
    content = {"path": "/datasets/pets", "train": "images/train", "val": "images/val", "names": {0: "cat", 1: "dog"}}
    (root / "pets.yaml").write_text(yaml.safe_dump(content))
    return root


def roboflow(root: Path) -> Path:
    """Write its export: a folder a split, and paths that begin above data.yaml."""
    for split in ("train", "valid", "test"):
        images(root / split / "images", a=ROW, b="")
    places = {"train": "../train/images", "val": "../valid/images", "test": "../test/images"}
    (root / "data.yaml").write_text(yaml.safe_dump({**places, "nc": 2, "names": ["cat", "dog"]}))
    (root / "README.roboflow.txt").write_text("about")
    return root


def label_studio(root: Path) -> Path:
    images(root / "images", a=ROW, b="")
    (root / "classes.txt").write_text("cat\ndog\n")
    (root / "notes.json").write_text("{}")
    return root


def read(root: Path, split: str = "train", classes: tuple[str, ...] | None = None) -> Split:
    return formats.get("yolo").read({"path": str(root)}, "detection", split, classes)


@pytest.mark.parametrize(
    ("write", "splits"),
    [(ultralytics, ("train", "val")), (roboflow, ("train", "val", "test")), (label_studio, ("all",))],
)
def test_what_a_tool_writes_is_found_and_read(write, splits, tmp_path: Path) -> None:
    write(tmp_path)
    found = layouts(tmp_path)
    assert list(found) == ["yolo"]
    assert [(one.kind, one.splits) for one in found["yolo"]] == [("detection", splits)]
    assert has_test(formats.get("yolo"), {"path": str(tmp_path)}, "detection") == ("test" in splits)
    for part in splits:
        split = read(tmp_path, part)
        assert split.classes == ("cat", "dog")
        assert [one.name for one in split.examples] == ["a", "b"]
        full, empty = (one.target for one in split.examples)
        assert np.allclose(full.xyxy, [[8, 3, 12, 7]])
        assert (full.labels.tolist(), full.crowd.tolist()) == ([1], [False])
        assert empty.xyxy.shape == (0, 4)
        assert split.notes == ("1 images hold no box",)


def one_image(root: Path, rows: str | None) -> Path:
    images(root / "images", a=rows)
    content = {"train": "images", "val": "images", "names": ["cat", "dog"]}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root


def test_polygons_count_as_boxes_and_rows_that_stand_twice_count_once(tmp_path: Path) -> None:
    one_image(tmp_path, f"0 0.1 0.2 0.5 0.2 0.3 0.8\n{ROW}\n{ROW}\n\n1 0.5 0.5 1.04 1")
    (tmp_path / "labels" / "gone.txt").write_text(ROW)
    split = read(tmp_path)
    assert np.allclose(split.examples[0].target.xyxy, [[2, 2, 10, 8], [8, 3, 12, 7], [0, 0, 20, 10]])
    assert split.notes == (
        "1 boxes reached up to a pixel out of their images and are clipped",
        "1 boxes stand twice, with the same class and numbers, and count once",
        "1 texts in labels have no image: gone.txt",
    )


def test_shares_are_of_the_upright_image(tmp_path: Path) -> None:
    one_image(tmp_path, ROW)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "images" / "a.jpg", exif=turned)  # 10 x 20 pixels upright
    assert np.allclose(read(tmp_path).examples[0].target.xyxy, [[4, 6, 6, 14]])


def test_classes_asked_for_get_their_own_numbers(tmp_path: Path) -> None:
    one_image(tmp_path, f"{ROW}\n0 0.5 0.5 0.1 0.1")
    split = read(tmp_path, classes=("dog",))
    assert split.examples[0].target.labels.tolist() == [0]
    assert "1 boxes of other classes are left out" in split.notes
    with pytest.raises(UserError, match=r"unknown class for the names of .*'dgo'; did you mean 'dog'"):
        read(tmp_path, classes=("dgo",))


def test_train_and_val_that_are_one_folder_are_no_splits(tmp_path: Path) -> None:
    one_image(tmp_path, ROW)
    assert layouts(tmp_path)["yolo"][0].splits == ("train",)
    with pytest.raises(UserError, match=r"data\.yaml names no val images, only train"):
        read(tmp_path, "val")


@pytest.mark.parametrize("folder", ["", "data"])
def test_paths_of_cvat_begin_with_a_folder_that_may_be_there(folder: str, tmp_path: Path) -> None:
    images(tmp_path / folder / "obj_train_data", a=ROW)
    (tmp_path / folder / "obj.names").write_text("cat\ndog\n")
    (tmp_path / folder / "train.txt").write_text(
        "data/obj_train_data/a.jpg\n" if not folder else "obj_train_data/a.jpg\n"
    )
    (tmp_path / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    found = read(tmp_path)
    assert found.classes == ("cat", "dog")
    assert found.examples[0].target.labels.tolist() == [1]


def test_all_broken_rows_are_named_at_once_with_the_cure(tmp_path: Path) -> None:
    one_image(tmp_path, "9 .5 .5 .1 .1\nx\n0 .5 .5 .1\n0 .5 .5 -.2 .1\n0 nan .5 .1 .1\n0 .5 .5 .1 .1 .9")
    with pytest.raises(UserError) as raised:
        read(tmp_path)
    said = str(raised.value)
    for part in (
        "6 things are wrong",
        "a.txt line 1 (9 .5 .5 .1 .1) has a class that is none of 0..1",
        "line 2 (x) is neither five numbers",
        "line 3",
        "line 4 (0 .5 .5 -.2 .1) has a negative width or height",
        "line 5 (0 nan .5 .1 .1) is not of finite numbers",
        "line 6",
        "each a share of the image in 0..1",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: [yes, no]", "`names` must list the classes, as texts"),
        ("names: {0: cat, 2: dog}", "`names` must list the classes"),
        ("names: [cat, cat]", "`names` has 'cat' more than once"),
        ("names: [cat]\ntrain: 3", "`train` must be a folder, a list of images"),
        ("names: [cat]\ntrain: nowhere", "nowhere is neither a folder nor a list of images"),
        ("names: [cat]\ntrain: list.txt", r"lost\.jpg is no file; .*list\.txt must list images that are there"),
        ("names: [cat", "is not readable YAML"),
    ],
)
def test_what_is_wrong_with_data_yaml_is_said(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(content)
    (tmp_path / "list.txt").write_text("lost.jpg\n")
    with pytest.raises(UserError, match=message):
        read(tmp_path)


def test_of_two_yaml_files_the_task_names_one(tmp_path: Path) -> None:
    ultralytics(tmp_path)
    (tmp_path / "two.yaml").write_text("names: [bird]\ntrain: images/train\n")
    with pytest.raises(UserError, match=r"pets\.yaml, two\.yaml: `file: NAME` names the one"):
        read(tmp_path)
    named = {"path": str(tmp_path), "file": "pets.yaml"}
    assert formats.get("yolo").read(named, "detection", "train", None).classes == ("cat", "dog")
    with pytest.raises(UserError, match="names no file of"):
        formats.get("yolo").read({**named, "file": "three.yaml"}, "detection", "train", None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_texts_and_lists_are_read_with_and_without_a_mark_of_their_encoding(encoding: str, tmp_path: Path) -> None:
    images(tmp_path / "images", **{"img 1": None, "b": ""})
    (tmp_path / "labels" / "img 1.txt").write_text(f"{ROW}\r\n", encoding=encoding)
    (tmp_path / "list.txt").write_text("images/img 1.jpg\r\nimages/b.jpg\r\n", encoding=encoding)
    (tmp_path / "data.yaml").write_text("train: list.txt\nnames: [cat, dog]", encoding=encoding)
    split = read(tmp_path)
    assert [one.name for one in split.examples] == ["b", "img 1"]
    assert np.allclose(split.examples[1].target.xyxy, [[8, 3, 12, 7]])


@pytest.mark.parametrize("row", ["1 0.5 0.5 0.2 0_4", "1 0.5 0.5 0.2 0.\u0664", "1_0 0.5 0.5 0.2 0.4"])
def test_numbers_are_of_plain_digits(row: str, tmp_path: Path) -> None:
    one_image(tmp_path, None)
    (tmp_path / "labels").mkdir(exist_ok=True)
    (tmp_path / "labels" / "a.txt").write_text(row, encoding="utf-8")
    with pytest.raises(UserError, match=r"a\.txt line 1 .* is neither five numbers"):
        read(tmp_path)


def test_a_class_goes_by_the_number_of_its_line(tmp_path: Path) -> None:
    label_studio(tmp_path)
    (tmp_path / "classes.txt").write_text("cat\n\ndog\n")
    with pytest.raises(UserError, match=r"classes\.txt line 2 names no class"):
        read(tmp_path, "all")


@pytest.mark.parametrize("content", ["names: 2001-99-99", "[" * 600, "names: [cat]\ntrain: " + "x" * 300])
def test_what_no_reader_of_yaml_or_files_takes_is_one_sentence(content: str, tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text(content)
    with pytest.raises(UserError, match=r"data\.yaml"):
        read(tmp_path)


def pose(root: Path, row: str, **more: object) -> Path:
    one_image(root, row)
    content = {"train": "images", "names": ["cat", "dog"], **more}
    (root / "data.yaml").write_text(yaml.safe_dump(content))
    return root


def test_the_box_of_a_pose_is_its_first_four_numbers(tmp_path: Path) -> None:
    split = read(pose(tmp_path, "0 .5 .5 .2 .2 .41 .45 .9 .95", kpt_shape=[2, 2]))
    assert np.allclose(split.examples[0].target.xyxy, [[8, 4, 12, 6]])
    assert split.notes == ("keypoints are left out, the last 4 numbers of each row",)
    with pytest.raises(UserError, match=r"line 1 \(0 \.5 .* is not a class, a box and 6 of keypoints"):
        read(pose(tmp_path, "0 .5 .5 .2 .2 .41 .45 .9 .95", kpt_shape=[2, 3]))
    with pytest.raises(UserError, match=r"`kpt_shape` must be a count of keypoints and 2 or 3 numbers each, not 4"):
        read(pose(tmp_path, ROW, kpt_shape=4))


def test_an_odd_count_of_numbers_is_neither_a_box_nor_a_polygon(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="neither five numbers nor a class and a polygon"):
        read(pose(tmp_path, "0 .5 .5 .2 .2 .41 .45 2"))


def test_a_count_of_classes_that_is_not_that_of_the_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.yaml: `nc` is 3, but `names` has 2 classes: cat, dog"):
        read(pose(tmp_path, ROW, nc=3))


def test_images_and_texts_behind_links_are_read_and_a_loop_ends(tmp_path: Path) -> None:
    one_image(tmp_path / "set", ROW)
    images(tmp_path / "far" / "images", b=ROW)
    for part in ("images", "labels"):
        (tmp_path / "set" / part / "more").symlink_to(tmp_path / "far" / part)
        (tmp_path / "set" / part / "loop").symlink_to(tmp_path / "set" / part)
    split = read(tmp_path / "set")
    assert [(one.name, len(one.target.labels)) for one in split.examples] == [("a", 1), ("more/b", 1)]
    assert split.notes == ()


def test_two_images_of_one_text_are_refused(tmp_path: Path) -> None:
    one_image(tmp_path, ROW)
    Image.new("RGB", (20, 10)).save(tmp_path / "images" / "a.png")
    with pytest.raises(UserError, match=r"images/a\.jpg and a\.png share a\.txt; each image needs a text"):
        read(tmp_path)


def test_texts_whose_ending_is_in_capitals_are_read(tmp_path: Path) -> None:
    one_image(tmp_path, ROW)
    (tmp_path / "labels" / "a.txt").rename(tmp_path / "labels" / "a.TXT")
    assert len(read(tmp_path).examples[0].target.labels) == 1


def test_folders_beside_a_list_of_classes_are_splits_in_capitals_too(tmp_path: Path) -> None:
    for split in ("Train", "Val"):
        images(tmp_path / "images" / split, **{split: ROW})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert [one.splits for one in layouts(tmp_path)["yolo"]] == [("train", "val")]
    assert [example.name for example in read(tmp_path, "val").examples] == ["Val"]


def test_a_test_part_that_is_val_again_is_none(tmp_path: Path) -> None:
    ultralytics(tmp_path)
    content = yaml.safe_load((tmp_path / "pets.yaml").read_text())
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump({**content, "test": content["val"]}))
    assert not has_test(formats.get("yolo"), {"path": str(tmp_path)}, "detection")


def test_keys_may_be_in_capitals(tmp_path: Path) -> None:
    ultralytics(tmp_path)
    content = yaml.safe_load((tmp_path / "pets.yaml").read_text())
    capitals = {"Train": content.pop("train"), "Validation": content.pop("val")}
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump({**content, **capitals}))
    assert [one.splits for one in layouts(tmp_path)["yolo"]] == [("train", "val")]


def test_images_of_one_name_in_two_folders_are_told_apart_by_these(tmp_path: Path) -> None:
    for camera in ("left", "right"):
        images(tmp_path / camera / "images", a=ROW, **{camera: ROW})
    images(tmp_path / "val" / "images", a=ROW)
    places = {"train": ["left/images", "right/images"], "val": "val/images"}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({**places, "names": ["cat", "dog"]}))
    found = [(example.name, len(example.target.labels)) for example in read(tmp_path).examples]
    names = ("left/images/a", "left/images/left", "right/images/a", "right/images/right")
    assert found == [(name, 1) for name in names]
    assert [example.name for example in read(tmp_path, "val").examples] == ["a"]
    lines = [f"{camera}/images/a.jpg" for camera in ("left", "right")]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({**places, "train": "train.txt", "names": ["cat", "dog"]}))
    assert [example.name for example in read(tmp_path).examples] == ["left/images/a", "right/images/a"]


def test_a_key_in_another_spelling_that_names_no_place_is_of_something_else(tmp_path: Path) -> None:
    ultralytics(tmp_path)
    content = yaml.safe_load((tmp_path / "pets.yaml").read_text())
    (tmp_path / "pets.yaml").write_text(yaml.safe_dump({**content, "dev": True, "Test": {"a": 1}}))
    assert [one.splits for one in layouts(tmp_path)["yolo"]] == [("train", "val")]


def test_folders_named_by_relative_and_absolute_paths_tell_their_images_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for camera in ("left", "right"):
        images(tmp_path / camera / "images", a=ROW)
    monkeypatch.chdir(tmp_path)
    places = {"train": [str(tmp_path / "left" / "images"), "right/images"], "names": ["cat", "dog"]}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(places))
    assert [example.name for example in read(Path()).examples] == ["left/images/a", "right/images/a"]


def test_images_that_differ_by_their_endings_keep_their_names(tmp_path: Path) -> None:
    images(tmp_path / "left" / "images", a=ROW, b=ROW)
    images(tmp_path / "right" / "images", a=ROW)
    (tmp_path / "right" / "images" / "a.jpg").rename(tmp_path / "right" / "images" / "a.png")
    places = {"train": ["left/images", "right/images"], "names": ["cat", "dog"]}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(places))
    assert [example.name for example in read(tmp_path).examples] == ["a.jpg", "a.png", "b"]
