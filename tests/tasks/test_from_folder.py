"""Data of one's own: audited, and written down as an experiment."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from PIL import Image

from cl_bench.config.presets import load_experiment
from cl_bench.data.formats.scenes import generate, parse
from cl_bench.errors import UserError
from cl_bench.runner.prepare import prepare
from cl_bench.tasks.catalog import load_catalog
from cl_bench.tasks.from_folder import add
from cl_bench.tasks.one_more import with_task

pytestmark = pytest.mark.slow

SCENES = {"train": 12, "val": 10, "size": 64}
DIGITS = tuple("0123456789")


def folder(kind: str) -> Path:
    return generate(parse(SCENES), kind)


@pytest.mark.parametrize(
    ("kind", "classes"), [("segmentation", ("background", *DIGITS)), ("detection", ()), ("classification", ())]
)
def test_a_folder_becomes_an_experiment_that_can_be_prepared(
    kind: str, classes: tuple[str, ...], tmp_path: Path, results: Path
) -> None:
    path, found = add("mine", kind, folder(kind), tmp_path, classes=classes)
    assert "12 train and 10 val images" in found
    prepared = prepare(str(path), changes={"model.weights": "none"})
    assert prepared.plan.runs == []
    assert [run.order for run in prepared.plan.baselines] == [("mine",)]
    assert len(load_experiment(str(path)).tasks[0].classes or ()) == (11 if kind == "segmentation" else 10)


def test_what_cannot_be_added_is_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'detection'"):
        add("mine", "detections", tmp_path, tmp_path)
    with pytest.raises(UserError, match="may hold letters, digits"):
        add("../mine", "classification", folder("classification"), tmp_path)
    with pytest.raises(UserError, match="does not exist"):
        add("mine", "classification", tmp_path / "nowhere", tmp_path)
    with pytest.raises(UserError, match=r"holds nothing that coco, image_folder, .*yolo know by its folders; --format"):
        add("mine", "", tmp_path, tmp_path)
    with pytest.raises(UserError, match="no data format reads keypoints from a folder"):
        add("mine", "keypoints", tmp_path, tmp_path)
    assert list(tmp_path.glob("*.yaml")) == []
    add("mine", "classification", folder("classification"), tmp_path)
    with pytest.raises(UserError, match="is there already"):
        add("mine", "classification", folder("classification"), tmp_path)


def class_folders(root: Path, count: int = 10, where: str = "") -> Path:
    """Write `count` images of each of two classes, no two alike."""
    for label, name in enumerate(("cat", "dog")):
        (root / where / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8), (label * 100, index * 5, len(where))).save(root / where / name / f"{index}.png")
    return root


def test_format_kind_and_splits_are_found_out_and_shown(tmp_path: Path) -> None:
    (file, said), data = add("mine", "", folder("detection"), tmp_path), folder("detection")
    assert said.splitlines()[:5] == [
        f"folder   {data}",
        "format   coco (a labels.json with data/ a split (FiftyOne))",
        "kind     detection",
        "splits   12 train, 10 val",
        "classes  10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    ]
    (task,) = load_experiment(str(file)).tasks
    assert (task.kind, task.data) == ("detection", {"format": "coco", "path": str(data)})


def test_a_folder_without_splits_is_split_by_class(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "pets")
    with pytest.raises(UserError, match="has no splits; --split-off takes a tenth of each class"):
        add("pets", "", data, tmp_path)
    file, said = add("pets", "", data, tmp_path, split_off=True)
    assert said.splitlines()[3] == "splits   16 train, 2 val, 2 test; split off by class"
    (entry,) = load_catalog(load_experiment(str(file)))
    assert entry.audit.test is not None
    assert entry.audit.train_counts == {"cat": 8, "dog": 8}
    assert entry.audit.val_counts == entry.audit.test.counts == {"cat": 1, "dog": 1}
    names = [
        example.name
        for part in (entry.audit.train, entry.audit.val, entry.audit.test.split)
        for example in part.examples
    ]
    assert sorted(names) == sorted(f"{name}/{index}" for name in ("cat", "dog") for index in range(10))
    with pytest.raises(UserError, match=r"`split_off` in the data: unknown key 'vall'; did you mean 'val'"):
        load_catalog(load_experiment(str(file), {"tasks.pets.data.split_off": {"vall": 0.1}}))


def test_train_without_val_is_split_and_its_own_test_part_stays(tmp_path: Path) -> None:
    data = class_folders(class_folders(tmp_path / "pets", where="train"), 4, where="testing")
    with pytest.raises(UserError, match="has train and test but no val"):
        add("pets", "", data, tmp_path)
    _, said = add("pets", "", data, tmp_path, split_off=True)
    assert said.splitlines()[3] == "splits   18 train, 2 val, 8 test; split off train by class"
    class_folders(data, 3, where="valid")
    with pytest.raises(UserError, match="has a val already"):
        add("more", "", data, tmp_path, split_off=True)


def test_all_classes_without_an_example_are_named_with_the_choice_that_leaves_them_out(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("cat\nsea gull\ndog\nfish\n")
    for index in range(20):
        Image.new("RGB", (9, 9), (index, 0, 0)).save(tmp_path / "images" / f"{index}.png")
        (tmp_path / "labels" / f"{index}.txt").write_text("1 0.5 0.5 0.5 0.5\n2 0.5 0.5 0.4 0.4")
    with pytest.raises(UserError, match=r"2 of 4 classes, .*: cat, fish; --classes 'sea gull,dog' leaves them out"):
        add("birds", "", tmp_path, tmp_path, split_off=True)
    _, said = add("birds", "", tmp_path, tmp_path, classes=["sea gull", "dog"], split_off=True)
    assert said.splitlines()[1:5] == [
        "format   yolo (classes.txt, a text of boxes an image)",
        "kind     detection",
        "splits   16 train, 2 val, 2 test; split off by class",
        "classes  2: sea gull, dog",
    ]


def test_masks_that_hold_fewer_classes_than_usual_are_told_how_many_to_name(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "seg" / split).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (8, 8), (index, len(split), 0)).save(tmp_path / "seg" / split / f"{index}.jpg")
            mask = Image.new("L", (8, 8), 0)
            mask.paste(index, (0, 0, 4, 4))
            mask.save(tmp_path / "seg" / split / f"{index}.png")
    with pytest.raises(
        UserError, match=r"hold 0 to 2 in train, and no pixel is of 18 of 21 .* --classes background,aeroplane,bicycle$"
    ):
        add("seg", "", tmp_path / "seg", tmp_path)
    _, said = add("seg", "", tmp_path / "seg", tmp_path, classes=["road", "car", "tree"])
    assert "classes  3: road, car, tree" in said


def test_classes_whose_images_all_lie_deeper_are_found_out_in_parts_alone(tmp_path: Path) -> None:
    for red, split in enumerate(("train", "val")):
        for green, name in enumerate(("cat", "dog")):
            for blue, time in enumerate(("day", "night")):
                (tmp_path / "pets" / split / name / time).mkdir(parents=True)
                for index in range(2):
                    image = Image.new("RGB", (8, 8), (red, green, 2 * blue + index))
                    image.save(tmp_path / "pets" / split / name / time / f"{index}.png")
    _, said = add("pets", "", tmp_path / "pets", tmp_path)
    assert said.splitlines()[3:5] == ["splits   8 train, 8 val", "classes  2: cat, dog"]
    with pytest.raises(UserError, match="holds nothing that"):
        add("wrapped", "", tmp_path, tmp_path)


def test_where_two_fit_it_is_said(tmp_path: Path) -> None:
    data = class_folders(tmp_path / "both", where="train")
    class_folders(data, 4, where="val")
    for split in ("train", "val"):
        image = Image.open(data / split / "cat" / "0.png")
        image.save(data / split / "x.jpg")
        image.convert("L").point(lambda _: 0).save(data / split / "x.png")
    with pytest.raises(
        UserError, match=r"in 2 ways: image_folder \(classification: .*voc \(segmentation: .* --format or"
    ):
        add("both", "", data, tmp_path)
    assert "kind     classification" in add("both", "", data, tmp_path, format="image_folder")[1]


def test_what_is_broken_for_one_format_does_not_hide_another(tmp_path: Path) -> None:
    data = class_folders(class_folders(tmp_path / "pets", where="train"), 4, where="val")
    (data / "data.yaml").write_text("names: [")
    assert "kind     classification" in add("pets", "", data, tmp_path)[1]
    with pytest.raises(UserError, match=r"data\.yaml is not readable YAML"):
        add("other", "", data, tmp_path, format="yolo")


def test_options_of_the_format_are_written_down(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for folder_, value in (("rgb", 9), ("truth", 255)):
            (tmp_path / "seg" / split / folder_).mkdir(parents=True)
            Image.new("L", (8, 8), value + len(split) - 5 if folder_ == "rgb" else value).save(
                tmp_path / "seg" / split / folder_ / "a.png"
            )
    options = {
        "images": "{split}/rgb/{name}.png",
        "masks": "{split}/truth/{name}.png",
        "colours": {"crack": 255, "background": 0},
    }
    with pytest.raises(UserError, match="class 'background' of task seg has no example in train"):
        add("seg", "", tmp_path / "seg", tmp_path, format="mask_pairs", options=options)
    options["colours"] = {"crack": 255}
    file, said = add("seg", "", tmp_path / "seg", tmp_path, format="mask_pairs", options=options)
    assert "format   mask_pairs (as told)" in said
    data = yaml.safe_load(file.read_text())["tasks"][0]["data"]
    assert data == {"format": "mask_pairs", "path": str(tmp_path / "seg"), **options}


def test_a_task_is_added_to_an_experiment_whose_text_stays(tmp_path: Path) -> None:
    file, _ = add("first", "", folder("classification"), tmp_path)
    text = "# mine\n" + file.read_text().replace("strategies:", "# what is compared\nstrategies:")
    file.write_text(text)
    assert add("second", "", folder("detection"), tmp_path, to=file)[0] == file
    assert [task.name for task in load_experiment(str(file)).tasks] == ["first", "second"]
    text = text.replace("description: first alone\n", "description: first and second\n")
    head, mark, tail = text.partition("# what is compared")
    assert file.read_text().startswith(f"{head}- name: second\n")
    assert file.read_text().endswith(mark + tail)
    with pytest.raises(UserError, match="has a task 'second' already"):
        add("second", "", folder("detection"), tmp_path, to=file)
    other = tmp_path / "other.yaml"
    other.write_text("extends: quickstart\n")
    with pytest.raises(UserError, match="has no list `tasks:`"):
        add("second", "", folder("detection"), tmp_path, to=other)
    assert other.read_text() == "extends: quickstart\n"


TASK = "name: NAME, kind: classification, data: {format: scenes}"
NEW = {"name": "new", "kind": "detection", "data": {"format": "coco", "path": "there"}, "classes": ["a: b", "#c"]}
LINES = "\n".join(f"    {line}" for line in yaml.safe_dump(NEW, sort_keys=False).splitlines()).lstrip()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("tasks: &all  # these\n  - {TASK a}\n", "tasks: &all  # these\n  - {TASK a}\n  - LINES\n"),
        (
            "tasks:\n  - &one {TASK a}\n  # b is as a\n  - {<<: *one, name: b}\n# end\n",
            "tasks:\n  - &one {TASK a}\n  # b is as a\n  - {<<: *one, name: b}\n  - LINES\n# end\n",
        ),
        (
            "tasks:\n  - name: a\n    kind: classification\n    data: &data {format: scenes}\n  - name: b\n"
            "    kind: classification\n    data: *data\nseeds: [1]\n",
            "tasks:\n  - name: a\n    kind: classification\n    data: &data {format: scenes}\n  - name: b\n"
            "    kind: classification\n    data: *data\n  - LINES\nseeds: [1]\n",
        ),
        ("tasks:\n  -   {TASK a}", "tasks:\n  -   {TASK a}\n  - LINES\n"),
    ],
)
def test_anchors_and_aliases_stay_where_a_task_is_added(before: str, after: str, tmp_path: Path) -> None:
    def filled(text: str) -> str:
        return text.replace("TASK a", TASK.replace("NAME", "a")).replace("LINES", LINES)

    file = tmp_path / "own.yaml"
    file.write_text(filled(before))
    assert with_task(file, NEW) == filled(after)


@pytest.mark.parametrize(
    "text",
    ["x: &all\n  - {TASK}\ntasks: *all\n", "tasks: &all\n  - {TASK}\norders: *all\n", "tasks:\n- {TASK}\n- *no\n"],
)
def test_an_experiment_to_which_no_task_can_be_added_is_refused_before_the_audit(text: str, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(text.replace("TASK", TASK.replace("NAME", "a")))
    before, data = file.read_text(), class_folders(class_folders(tmp_path / "pets", where="train"), where="val")
    (data / "val" / "cat" / "0.png").write_bytes(b"broken, as an audit would say")
    with pytest.raises(UserError, match=r"own\.yaml is (written in a way to which no task|not readable YAML)"):
        add("pets", "", data, tmp_path, to=file)
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("names", "before", "after"),
    [
        ("a", "a alone", "a and new"),
        ("ab", "a and b", "a, b and new"),
        ("abc", "a, b and c", "a, b, c and new"),
        ("a", "'a alone'  # so far", "a and new  # so far"),
        ("a", "my own words", "my own words"),
        ("ab", "a alone", "a alone"),
    ],
)
def test_a_description_that_was_written_of_the_tasks_names_the_new_one_too(
    names: str, before: str, after: str, tmp_path: Path
) -> None:
    tasks = "".join(f"- {{{TASK.replace('NAME', name)}}}\n" for name in names)
    file = tmp_path / "own.yaml"
    for text in ("description: WORDS\ntasks:\nTASKS", "tasks:\nTASKSdescription: WORDS\n"):
        file.write_text(text.replace("WORDS", before).replace("TASKS", tasks))
        added = tasks + yaml.safe_dump([NEW], sort_keys=False)
        assert with_task(file, NEW) == text.replace("WORDS", after).replace("TASKS", added)


def test_exports_that_are_not_read_are_told_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "cvat" / "images").mkdir(parents=True)
    (tmp_path / "cvat" / "annotations.xml").write_text('<?xml version="1.0"?>\n<annotations><version>1.1</version>')
    with pytest.raises(UserError, match=r"annotations\.xml is CVAT's own XML, which is not read; export again as COCO"):
        add("mine", "", tmp_path / "cvat", tmp_path)
    (tmp_path / "mine.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match=r"mine\.zip is an archive: unzip it first"):
        add("mine", "", tmp_path / "mine.zip", tmp_path)


def test_cvats_masks_are_read_by_its_label_map(tmp_path: Path) -> None:
    data = tmp_path / "cvat"
    for part in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (data / part).mkdir(parents=True)
    for number in range(10):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(data / "JPEGImages" / f"{number}.png")
        mask = Image.new("RGB", (8, 8))
        mask.paste((250, 50, 83), (0, 0, 4, 4))
        mask.save(data / "SegmentationClass" / f"{number}.png")
    (data / "ImageSets" / "Segmentation" / "default.txt").write_text("\n".join(map(str, range(10))))
    rows = ["# label:color_rgb:parts:actions", "background:0,0,0::", "cat:250,50,83::"]
    (data / "labelmap.txt").write_text("\n".join(rows))
    with pytest.raises(UserError, match="has no splits; --split-off"):
        add("mine", "", data, tmp_path)
    file, said = add("mine", "", data, tmp_path, split_off=True)
    assert "splits   8 train, 1 val, 1 test; split off by class" in said
    task = yaml.safe_load(file.read_text())["tasks"][0]
    assert task["data"]["colours"] == {"background": [0, 0, 0], "cat": [250, 50, 83]}
    assert task["classes"] == ["background", "cat"]


def test_what_a_format_is_told_of_has_no_val_by_that_alone(tmp_path: Path) -> None:
    for folder_ in ("rgb", "truth"):
        (tmp_path / "seg" / folder_).mkdir(parents=True)
        for number in range(10):
            shade = number if folder_ == "rgb" else 0
            Image.new("L", (8, 8), shade).save(tmp_path / "seg" / folder_ / f"{number}.png")
    options = {"images": "rgb/{name}.png", "masks": "truth/{name}.png"}
    _, said = add("seg", "", tmp_path / "seg", tmp_path, format="mask_pairs", options=options, split_off=True)
    assert "splits   8 train, 1 val, 1 test; split off by class" in said
