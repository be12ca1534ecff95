"""The reader of VOC's detection."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from cl_bench.data.base import Split, has_test
from cl_bench.data.layouts import layouts
from cl_bench.errors import UserError
from cl_bench.plugins.registry import formats

DOG = ("dog", 1, (3, 4, 6, 8))
"""A name, whether it is difficult, and its first and last pixel from 1 on: (2, 3, 6, 8) from 0 on."""
CAT = ("cat", 0, (1, 1, 20, 10))


def xml(*objects) -> str:
    body = "".join(
        f"<object><name>{name}</name><difficult>{hard}</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox><part><name>head</name></part></object>"
        for name, hard, box in objects
    )
    return f"<annotation><size><width>20</width><height>10</height><depth>3</depth></size>{body}</annotation>"


def write(images: Path, texts: Path, name: str, content: str) -> None:
    for folder in (images, texts):
        folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 10)).save(images / f"{name}.jpg")
    (texts / f"{name}.xml").write_text(content)


def official(root: Path) -> None:
    """Write VOC 2012's tree, whose test list has no XML."""
    tree = root / "VOCdevkit" / "VOC2012"
    (tree / "ImageSets" / "Main").mkdir(parents=True)
    for split in ("train", "val"):
        write(tree / "JPEGImages", tree / "Annotations", split, xml(DOG, CAT))
        (tree / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{split}\n")
    (tree / "ImageSets" / "Main" / "test.txt").write_text("unseen\n")
    (tree / "ImageSets" / "Main" / "dog_train.txt").write_text("train -1\n")


def label_img(root: Path) -> None:
    write(root / "JPEGImages", root / "Annotations", "one", xml(DOG, CAT))


def roboflow(root: Path) -> None:
    for split in ("train", "valid", "test"):
        write(root / split, root / split, "one", xml(DOG, CAT))


def read(root: Path, split: str = "all", classes: tuple[str, ...] | None = None) -> Split:
    return formats.get("voc_xml").read({"path": str(root)}, "detection", split, classes)


@pytest.mark.parametrize(
    ("lay_out", "splits"),
    [(official, ("train", "val")), (label_img, ("all",)), (roboflow, ("train", "val", "test"))],
)
def test_what_a_tool_writes_is_found_and_read(lay_out, splits, tmp_path: Path) -> None:
    lay_out(tmp_path)
    found = layouts(tmp_path)
    assert list(found) == ["voc_xml"]
    assert [(one.kind, one.splits) for one in found["voc_xml"]] == [("detection", splits)]
    assert has_test(formats.get("voc_xml"), {"path": str(tmp_path)}, "detection") == ("test" in splits)
    for part in splits:
        split = read(tmp_path, part)
        assert split.classes == ("cat", "dog")
        (example,) = split.examples
        assert example.target.xyxy.tolist() == [[2, 3, 6, 8], [0, 0, 20, 10]]
        assert example.target.labels.tolist() == [1, 0]
        assert example.target.crowd.tolist() == [True, False]
        assert split.notes == ("1 boxes are difficult, which count as neither hit nor miss",)


def test_pixels_counted_from_0_are_clipped_with_a_note(tmp_path: Path) -> None:
    write(tmp_path / "JPEGImages", tmp_path / "Annotations", "a", xml(("dog", 0, (0, 0, 20, 10))))
    split = read(tmp_path)
    assert split.examples[0].target.xyxy.tolist() == [[0, 0, 20, 10]]
    assert split.notes == ("1 boxes reached up to a pixel out of their images and are clipped",)


def test_other_classes_are_left_out(tmp_path: Path) -> None:
    roboflow(tmp_path)
    split = read(tmp_path, "train", ("dog",))
    assert split.examples[0].target.labels.tolist() == [0]
    assert "1 boxes of other classes are left out" in split.notes
    with pytest.raises(UserError, match=r"'dgo'; did you mean 'dog'"):
        read(tmp_path, "train", ("dgo",))


def test_all_that_is_broken_is_named_at_once(tmp_path: Path) -> None:
    images, texts = tmp_path / "JPEGImages", tmp_path / "Annotations"
    write(images, texts, "a", xml(("dog", 0, (5, 5, 3, 9)), ("dog", 0, (1, 1, "inf", 9))))
    with pytest.raises(
        UserError, match=r"^2 things .*object 1 \(dog\) has a negative.*object 2 \(dog\) is not of finite"
    ):
        read(tmp_path)
    write(images, texts, "b", "<annotation><object>")
    write(images, texts, "c", xml(("", 0, (1, 1, 2, 2)), ("dog", 0, (1, 1, "x", 2))))
    with pytest.raises(UserError) as raised:
        read(tmp_path)
    for part in ("3 things", "b.xml is not readable XML", "object 1 (?) has no name", "no bndbox of four numbers"):
        assert part in str(raised.value)
    (images / "a.jpg").unlink()
    (images / "b.jpg").unlink()
    with pytest.raises(UserError, match=r"2 things are wrong: .*a\.jpg does not exist; .*b\.jpg does not exist"):
        read(tmp_path)
    with pytest.raises(UserError, match="with XML beside images"):
        read(tmp_path, "train")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("<annotation>", "<?xml version='1.0' encoding='utf-5'?><annotation>"), "is not readable XML: unknown enc"),
        (("<difficult>1<", "<difficult>l<"), r"object 1 \(dog\) has 'l' as difficult, which is 0 or 1"),
        (("<xmin>3<", "<xmin>0_3<"), "has no bndbox of four numbers"),
        (("<xmin>3</xmin>", "<xmin>3</xmin><xmin>4</xmin>"), "has no bndbox of four numbers"),
        (("<name>dog</name>", "<name>dog</name><name>cat</name>"), "has no name"),
    ],
)
def test_what_could_be_read_as_something_else_is_refused(change, said, tmp_path: Path) -> None:
    write(tmp_path / "JPEGImages", tmp_path / "Annotations", "a", xml(DOG).replace(*change))
    with pytest.raises(UserError, match=rf"a\.xml .*{said}"):
        read(tmp_path)


def test_an_object_by_another_name_is_not_lost_without_a_word(tmp_path: Path) -> None:
    text = xml(DOG).replace("object>", "objekt>")
    write(tmp_path / "JPEGImages", tmp_path / "Annotations", "a", text)
    with pytest.raises(UserError, match=r"a\.xml has 1 bndbox outside of any object"):
        read(tmp_path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line", ["img 1", "img 1.jpg", "img 1  -1"])
def test_a_list_is_read_a_line_a_name(line, encoding, tmp_path: Path) -> None:
    for name in ("img 1", "img 2"):
        write(tmp_path / "JPEGImages", tmp_path / "Annotations", name, xml(DOG))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "train.txt").write_text(f"{line}\r\nimg 2\r\n", encoding=encoding)
    assert [example.name for example in read(tmp_path, "train").examples] == ["img 1", "img 2"]


def test_boxes_in_shares_are_refused(tmp_path: Path) -> None:
    write(tmp_path, tmp_path, "a", xml(("dog", 0, (0.1, 0.1, 0.5, 0.5)), ("cat", 0, (0.2, 0.2, 0.4, 0.4))))
    with pytest.raises(UserError, match="no number of any box is over 1, as if they were shares"):
        read(tmp_path)
    write(tmp_path, tmp_path, "a", xml(("dog", 0, (1, 1, 1, 1))))
    assert read(tmp_path).examples[0].target.xyxy.tolist() == [[0, 0, 1, 1]]


def test_objects_are_read_in_any_namespace(tmp_path: Path) -> None:
    write(tmp_path, tmp_path, "a", xml(DOG).replace("<annotation>", '<annotation xmlns="http://example.org/voc">'))
    assert read(tmp_path).examples[0].target.xyxy.tolist() == [[2, 3, 6, 8]]


@pytest.mark.parametrize("images", [".", "JPEGImages"])
def test_two_images_of_one_xml_are_refused(images: str, tmp_path: Path) -> None:
    write(tmp_path / images, tmp_path / ("." if images == "." else "Annotations"), "a", xml(DOG))
    Image.new("RGB", (20, 10)).save(tmp_path / images / "a.png")
    with pytest.raises(UserError, match=r"a\.png and a\.jpg; two images of one name would share their labels"):
        read(tmp_path)


def test_xml_that_names_another_image_is_told_of(tmp_path: Path) -> None:
    for name, told in (("a", r"C:\photos\a.png"), ("b", "b"), ("c", "z.jpg")):
        write(tmp_path, tmp_path, name, xml(DOG).replace("<size>", f"<filename>{told}</filename><size>"))
    said = "1 XML name another image than that of their own name, which counts: c.xml names z.jpg"
    assert said in read(tmp_path).notes


def test_what_a_tree_without_lists_holds_beside_its_pairs_is_told_of(tmp_path: Path) -> None:
    write(tmp_path / "JPEGImages", tmp_path / "Annotations", "one", xml(CAT))
    assert read(tmp_path).notes == ()
    Image.new("RGB", (20, 10)).save(tmp_path / "JPEGImages" / "two.png")
    write(tmp_path / "JPEGImages" / "more", tmp_path / "Annotations" / "more", "three", xml(DOG))
    assert [example.name for example in read(tmp_path).examples] == ["one"]
    assert read(tmp_path).notes == (
        "1 images have no XML and are not read, such as two.png",
        "1 XML in folders are not read, such as Annotations/more/three.xml",
    )


@pytest.mark.parametrize(
    ("lists", "splits"),
    [
        (("Train", "Validation", "Test"), ("train", "val", "test")),
        (("trainval", "test"), ("train", "test")),
        (("val", "test"), ()),
    ],
)
def test_what_lists_declare_is_never_read_as_one_whole(lists, splits, tmp_path: Path) -> None:
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for name in lists:
        write(tmp_path / "JPEGImages", tmp_path / "Annotations", name, xml(DOG, CAT))
        (tmp_path / "ImageSets" / "Main" / f"{name}.txt").write_text(f"{name}\n")
    assert [one.splits for one in layouts(tmp_path).get("voc_xml", ())] == ([splits] if splits else [])
    for split, name in zip(splits, lists, strict=False):
        assert [example.name for example in read(tmp_path, split).examples] == [name]
