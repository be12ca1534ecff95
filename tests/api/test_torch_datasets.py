"""torch data sets as a task's data: written once, keyed by what they hold or by their fingerprint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import TINY, message
from PIL import Image
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchvision.tv_tensors import BoundingBoxes

import cl_bench
from cl_bench.config.presets import load_experiment
from cl_bench.data.base import Split
from cl_bench.data.images import decode_mask, open_image
from cl_bench.runner.prepare import prepare
from cl_bench.tasks.catalog import read_split
from cl_bench.tasks.torch_datasets import write_datasets

Target = Callable[[int], Any]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CL_BENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Squares(Dataset[Any]):
    """Grey images of 40 x 30 pixels, no two alike; how often each was asked for is counted."""

    def __init__(self, target: Target, count: int = 6, first: int = 0, classes: Any = None) -> None:
        self.target, self.count, self.first, self.read = target, count, first, 0
        if classes is not None:
            self.classes = classes

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        self.read += 1
        return torch.full((3, 30, 40), self.first + index, dtype=torch.uint8), self.target(index)


def task(kind: str, **parts: Any) -> cl_bench.Task:
    classes = parts.pop("classes", None)
    return cl_bench.Task(name="own", kind=kind, data=parts, classes=classes)


def split(kind: str, dataset: Any, **more: Any) -> Split:
    experiment = cl_bench.Experiment(name="own", tasks=(task(kind, train=dataset, val=dataset, **more),))
    return read_split(write_datasets(experiment).tasks[0], "train")


def test_classification_is_read_as_it_is_given() -> None:
    found = split("classification", Squares(lambda index: index % 2, classes=["cat", "dog"]))
    assert found.classes == ("cat", "dog")
    assert [example.target for example in found.examples] == [0, 1, 0, 1, 0, 1]
    pixels = np.asarray(open_image(found.examples[5].image))
    assert pixels.shape == (30, 40, 3)
    assert (pixels == 5).all()


def test_images_in_all_their_forms() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    forms = [Image.fromarray(pixels), pixels, tensor, tensor / 255]
    for form in forms:
        found = split("classification", Listed([(form, 0), (form, torch.tensor(1)), (form, np.int64(1))]))
        assert (np.asarray(open_image(found.examples[0].image)) == pixels).all()
    grey = split("classification", Listed([(pixels[:, :, 0], 0)]))
    assert (np.asarray(open_image(grey.examples[0].image))[:, :, 1] == pixels[:, :, 0]).all()


@dataclass
class Listed(Dataset[Any]):
    """A list of items; a data class, which pydantic would take apart."""

    items: list[Any]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


def test_classes_are_chosen_and_named() -> None:
    named = Squares(lambda index: index % 3, classes=("cat", "dog", "cow"))
    found = split("classification", named, classes=("cow", "cat"))
    assert found.classes == ("cow", "cat")
    assert [example.target for example in found.examples] == [1, 0, 1, 0]
    assert found.notes == ("left out 1 of 3 classes, as asked",)
    unnamed = Squares(lambda index: index % 3)
    assert split("classification", unnamed).classes == ("0", "1", "2")
    assert split("classification", unnamed, classes=("a", "b", "c")).classes == ("a", "b", "c")
    assert "a data set of 3 classes cannot be of 2: a, b" in message(
        split, "classification", unnamed, classes=("a", "b")
    )
    assert "did you mean 'cow'" in message(split, "classification", named, classes=("cov",))


def test_masks_are_read_as_they_are_given() -> None:
    def mask(index: int) -> torch.Tensor:
        found = torch.full((30, 40), index % 3)
        found[0, 0] = 255
        return found

    found = split("segmentation", Squares(mask, classes=["sky", "sea", "land"]))
    values = decode_mask(found.examples[2].target, None)
    assert values.shape == (30, 40)
    assert values[0, 0] == 255
    assert (values.reshape(-1)[1:] == 2).all()
    assert "mask of its 30 x 40 pixels, not (40, 30)" in message(split, "segmentation", Squares(lambda i: mask(i).T))
    assert "class numbers in 0..254" in message(split, "segmentation", Squares(lambda i: mask(i).float()))


def test_boxes_are_read_as_torchvisions_detectors_take_them() -> None:
    def boxes(index: int) -> dict[str, Any]:
        return {"boxes": torch.tensor([[1.0, 2, 11, 12]] * (index % 3)), "labels": torch.tensor([1, 2][: index % 3])}

    found = split("detection", Squares(boxes, classes=["__background__", "cat", "dog"]))
    assert found.classes == ("cat", "dog")
    assert [example.target.labels.tolist() for example in found.examples[:3]] == [[], [0], [0, 1]]
    assert found.examples[2].target.xyxy.tolist() == [[1, 2, 11, 12]] * 2
    assert not found.examples[2].target.crowd.any()
    assert split("detection", Squares(boxes)).classes == ("1", "2")
    wide = BoundingBoxes([[1.0, 2, 10, 9]], format="XYWH", canvas_size=(30, 40))  # type: ignore[call-overload]
    (stated, *_) = split("detection", Squares(lambda _: {"boxes": wide, "labels": torch.tensor([1])})).examples
    assert stated.target.xyxy.tolist() == [[1, 2, 11, 11]]
    assert "must be a dict of 'boxes' and 'labels'" in message(split, "detection", Squares(lambda _: 3))


def boxed(*labels: int, box: Any = (1.0, 2, 11, 12)) -> Squares:
    """Return a data set of one image a label, each with one box."""
    return Squares(
        lambda index: {"boxes": torch.tensor([box]), "labels": torch.tensor([labels[index]])}, count=len(labels)
    )


@pytest.mark.parametrize("classes", [None, ("a", "b", "c")])
def test_where_numbers_of_classes_begin_is_what_train_says(classes: tuple[str, ...] | None) -> None:
    def labels(train: Squares, val: Squares) -> list[int]:
        one = task("detection", train=train, val=val, classes=classes)
        found = read_split(write_datasets(cl_bench.Experiment(name="own", tasks=(one,))).tasks[0], "val")
        assert found.classes == (classes or ("0", "1", "2"))
        return [int(example.target.labels[0]) for example in found.examples]

    assert labels(boxed(0, 1, 2), boxed(1, 2)) == [1, 2]
    assert labels(boxed(0, 1, 2), boxed(2, 0)) == [2, 0]
    said = message(labels, boxed(1, 2, 3), boxed(0, 1))
    assert "the data set given as 'val' has class 0, and the classes of train are 1 to 3" in said


def test_a_part_without_names_has_those_of_train() -> None:
    train, val = Squares(lambda index: index % 3, classes=["cat", "dog", "cow"]), Squares(lambda index: 2 - index % 2)
    one = cl_bench.Experiment(name="own", tasks=(task("classification", train=train, val=val),))
    found = read_split(write_datasets(one).tasks[0], "val")
    assert found.classes == ("cat", "dog", "cow")
    assert [example.target for example in found.examples] == [2, 1] * 3


def test_boxes_that_leave_their_images_are_clipped_and_told_of() -> None:
    found = split("detection", boxed(0, 0, box=(1.0, 2, 40.5, 30)))
    assert [example.target.xyxy.tolist() for example in found.examples] == [[[1, 2, 40, 30]]] * 2
    assert found.notes == ("2 boxes reached up to a pixel out of their images and are clipped",)
    assert "3 of 3 boxes do not lie in their images" in message(split, "detection", boxed(0, 0, 0, box=(1.0, 2, 90, 9)))
    assert "the data set given as 'train': no number of any box is over 1" in message(
        split, "detection", boxed(0, box=(0.1, 0.1, 0.5, 0.5))
    )


@pytest.mark.parametrize(("shape", "labels"), [((1, 5), 1), ((4, 2), 2), ((4,), 1), ((2, 2, 4), 4)])
def test_boxes_of_other_shapes_are_one_sentence(shape: tuple[int, ...], labels: int) -> None:
    target = {"boxes": torch.ones(shape), "labels": torch.zeros(labels, dtype=torch.int64)}
    said = message(split, "detection", Squares(lambda _: target))
    assert "image 0: its boxes must be numbers of shape (n, 4)" in said
    assert f"float32 of shape {shape}" in said


def test_a_declared_fingerprint_is_of_one_class_of_data_sets_and_one_task() -> None:
    class Others(Squares):
        """Another data set, which says "v1" as well."""

    def goes_by(dataset: Squares, name: str) -> str:
        dataset.fingerprint = "v1"  # type: ignore[attr-defined]
        one = cl_bench.Task(name=name, kind="classification", data={"train": dataset, "val": dataset})
        return str(write_datasets(cl_bench.Experiment(name="own", tasks=(one,))).tasks[0].data["train"])

    first = goes_by(Squares(parity), "own")
    assert goes_by(Squares(parity), "own") == first
    assert goes_by(Others(parity), "own") != first
    assert goes_by(Squares(parity), "other") != first


def test_a_data_set_is_written_once_and_what_it_holds_is_its_fingerprint(cache: Path) -> None:
    def goes_by(dataset: Any) -> str:
        one = cl_bench.Experiment(name="own", tasks=(task("classification", train=dataset, val=dataset),))
        return str(write_datasets(one).tasks[0].data["train"])

    first = goes_by(Squares(lambda index: index % 2))
    assert goes_by(Squares(lambda index: index % 2)) == first
    assert len(list((cache / "given").iterdir())) == 1
    assert goes_by(Squares(lambda index: 1 - index % 2)) != first, "other labels"
    assert goes_by(Squares(lambda index: index % 2, first=1)) != first, "other pixels"
    assert goes_by(Squares(lambda index: index % 2, classes=["a", "b"])) != first, "other names"


@pytest.mark.parametrize("method", [False, True])
def test_a_declared_fingerprint_is_believed(method: bool, results: Path) -> None:
    def keys(fingerprint: str, first: int) -> tuple[set[str], int]:
        train = Squares(lambda index: index % 2, first=first)
        val = Squares(lambda index: index % 2, first=100)
        for dataset in (train, val):
            dataset.fingerprint = (lambda: fingerprint) if method else fingerprint  # type: ignore[attr-defined]
        own = {**TINY, "name": "own", "tasks": [task("classification", train=train, val=val)], "orders": []}
        return set(prepare(own).plan.stages), train.read

    before, read = keys("one", first=0)
    assert read == 6
    assert keys("one", first=0) == (before, 0), "it is not read again"
    assert keys("one", first=20) == (before, 0), "it is said to be the same"
    after, read = keys("two", first=20)
    assert read == 6
    assert not after & before


def test_what_is_no_data_set_of_images_is_one_sentence(tmp_path: Path) -> None:
    class Endless(IterableDataset[Any]):
        def __iter__(self) -> Any:
            return iter([])

    def random(_: int) -> int:
        return int(torch.randint(0, 1000, ()))

    assert "has no length" in message(split, "classification", Endless())
    assert "gives other images or targets each time" in message(split, "classification", Squares(random))
    assert "train of own, image 0: its target must be the number" in message(
        split, "classification", Squares(lambda _: "cat")
    )
    assert "gives no image and target" in message(split, "classification", Listed([3]))
    assert "leave Normalize out" in message(split, "classification", Listed([(torch.full((3, 8, 8), -1.0), 0)]))
    assert "has class 2, and the data set names 2 classes" in message(
        split, "classification", Squares(lambda _: 2, classes=["a", "b"])
    )
    assert "keypoints takes no torch data set" in message(split, "keypoints", Squares(lambda _: 0))
    dataset = Squares(lambda index: index % 2)
    half = cl_bench.Experiment(name="own", tasks=(task("classification", train=dataset),))
    assert "no data set was given as 'val'" in message(read_split, write_datasets(half).tasks[0], "val")
    assert "the data of task own were given as objects, which YAML cannot hold" in message(half.to_yaml)
    gone = {"format": "torch_dataset", "train": "0" * 64, "val": "0" * 64}
    config = cl_bench.Task(name="own", kind="classification", data=gone)
    assert "the data set 000000000000 was given from Python and is not in the cache" in message(
        read_split, config, "val"
    )


def parity(index: int) -> int:
    return index % 2


@pytest.mark.parametrize("kind", ["classification", "detection"])
def test_a_number_beyond_what_classes_can_be_is_refused_at_once(kind: str) -> None:
    def target(index: int) -> Any:
        number = 10**6 if index == 3 else parity(index)
        if kind == "classification":
            return number
        return {"boxes": torch.tensor([[1.0, 2, 11, 12]]), "labels": torch.tensor([number])}

    said = message(split, kind, Squares(target))
    assert "train of own, image 3: a target has class 1000000, which would be one of 1,000,001 classes" in said
    assert "and 6 labels are there: number the classes from 0 on" in said
    named = Squares(target)
    named.classes = ["a", "b"]
    assert "train of own, image 3: a target has class 1000000, and the data set names 2" in message(split, kind, named)
    one = task(kind, train=Squares(lambda index: target(parity(index))), val=Squares(target))
    stored = write_datasets(cl_bench.Experiment(name="own", tasks=(one,))).tasks[0]
    assert "given as 'val' has class 1000000, and the classes of train are" in message(read_split, stored, "val")


def test_many_unnamed_classes_take_no_time() -> None:
    found = split("classification", Squares(lambda index: 9_000 + index))
    assert len(found.classes) == 9_006
    assert [example.target for example in found.examples] == list(range(9_000, 9_006))


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        (lambda: ["a", "b"], "not a method"),
        ("cat,dog", "not of type str"),
        ({0: "cat", 1: "dog"}, "not of type dict"),
        (2, "not of type int"),
        (["cat", None], "and one is of type NoneType"),
    ],
)
def test_classes_that_are_no_list_of_names_are_one_sentence(classes: Any, told: str) -> None:
    said = message(split, "classification", Squares(parity, classes=classes))
    assert said == f"train of own: its `classes` must be a list of names, {told}"


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (np.array(["cat", "dog"]), ("cat", "dog")),
        ([7, 8], ("7", "8")),
        ([("crane", "bird"), ("crane",)], ("crane, bird", "crane")),
        (["crane", "crane"], ("crane (0)", "crane (1)")),
        ([], ("0", "1")),
    ],
)
def test_names_of_classes_in_all_their_forms(classes: Any, names: tuple[str, ...]) -> None:
    found = split("classification", Squares(parity, classes=classes))
    assert found.classes == names
    assert [example.target for example in found.examples] == [0, 1] * 3


@pytest.mark.parametrize(("length", "told"), [(-1, ">= 0"), ("6", "TypeError"), (None, "NotImplementedError: lazy")])
def test_a_length_that_is_none_is_one_sentence(length: Any, told: str) -> None:
    class Lazy(Squares):
        def __len__(self) -> int:
            if length is None:
                raise NotImplementedError("lazy")
            return length  # type: ignore[no-any-return]

    said = message(split, "classification", Lazy(parity))
    assert said.startswith("train of own: Lazy cannot say how many images it has: ")
    assert told in said
    assert message(split, "classification", Squares(parity, count=0)) == "train of own: Squares has no images"


def test_items_that_are_no_pairs_are_told_by_what_they_are() -> None:
    pixels = torch.zeros(3, 8, 8, dtype=torch.uint8)
    for item, told in [({"image": pixels, "label": 0}, "dict of 2"), ((pixels, 0, "a.jpg"), "tuple of 3")]:
        said = message(split, "classification", Listed([item]))
        assert said == f"train of own, image 0: Listed gives no image and target, but {told}: make a pair of each item"


def test_masks_of_0_and_255_alone_are_refused_with_the_cure() -> None:
    def mask(index: int) -> torch.Tensor:
        found = torch.zeros(30, 40, dtype=torch.int64)
        found[:10] = 255
        return found

    said = message(split, "segmentation", Squares(mask, classes=["background", "road"]))
    assert "train of own: its masks hold 255 and no class but 0, and 255 is void" in said
    assert "such as `mask // 255` of masks of 0 and 255" in said
    cured = split("segmentation", Squares(lambda index: mask(index) // 255, classes=["background", "road"]))
    values = decode_mask(cured.examples[0].target, None)
    assert (values[:10] == 1).all()
    assert (values[10:] == 0).all()
    one = task("segmentation", train=Squares(lambda index: mask(index) // 255), val=Squares(mask, first=9))
    stored = write_datasets(cl_bench.Experiment(name="own", tasks=(one,))).tasks[0]
    assert len(read_split(stored, "val").examples) == 6, "a part that is not learnt from may show nothing"


PAIRS = [(torch.zeros(3, 8, 8, dtype=torch.uint8), index % 2) for index in range(4)]
WRAP = "wrap it in a torch.utils.data.Dataset, whose items are pairs of an image and its target"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (PAIRS, f"is of type list, and no data set: {WRAP}"),
        (dict(enumerate(PAIRS)), f"is of type dict, and no data set: {WRAP}"),
        (np.zeros((4, 8, 8, 3), np.uint8), f"is of type ndarray, and no data set: {WRAP}"),
        (torch.zeros(4, 3, 8, 8), f"is of type Tensor, and no data set: {WRAP}"),
        (iter(PAIRS), f"is of type list_iterator, and no data set: {WRAP}"),
        (DataLoader(Listed(PAIRS)), "is of type DataLoader, and no data set: give what it loads, its `dataset`"),
        (Squares, "is the class Squares: give a data set of that class"),
    ],
)
def test_what_is_given_in_place_of_a_data_set_is_told_what_makes_one(given: Any, told: str) -> None:
    for parts in ({"train": given, "val": given}, {"train": given, "val": Squares(parity)}):
        assert message(task, "classification", **parts) == f"data of task own: 'train' {told}"
    assert message(task, "classification", train=Squares(parity), val=given) == f"data of task own: 'val' {told}"
    own = {"name": "own", "tasks": [{"name": "own", "kind": "classification", "data": {"train": given}}]}
    assert message(prepare, own) == f"data of task own: 'train' {told}"


def test_a_part_that_is_none_is_left_out_and_one_in_words_is_refused() -> None:
    one = task("classification", train=Squares(parity), val=Squares(parity), test=None)
    assert set(one.data) == {"format", "train", "val"}
    assert "'val' is of type str, and no data set" in message(task, "classification", train=Squares(parity), val="DIR")
    said = message(cl_bench.Task, name="own", kind="classification", data=Squares(parity))
    assert "must be a mapping of settings, or of data sets, {'train': ..., 'val': ...}, not of type Squares" in said


def test_a_file_that_an_experiment_with_objects_is_recorded_in_can_be_read_again(results: Path) -> None:
    dataset = Squares(lambda index: index % 2)
    own = cl_bench.Experiment(**{**TINY, "name": "own", "tasks": (task("classification", train=dataset, val=dataset),)})
    stored = write_datasets(own)
    (results.parent / "own.yaml").write_text(stored.to_yaml())
    assert load_experiment(results.parent / "own.yaml") == stored


@pytest.mark.slow
def test_a_data_set_is_learnt_from_in_workers_too(results: Path) -> None:
    def light(first: int) -> Squares:
        return Squares(lambda index: index % 2, count=8, first=first, classes=["even", "odd"])

    own = {**TINY, "name": "own", "epochs": 1, "tasks": [task("classification", train=light(0), val=light(50))]}
    told = cl_bench.run(own)
    assert told["value"].between(0, 1).all()
    assert told.plan.tasks[0].train_images == 8
    assert len(cl_bench.run(own, workers=2, changes={"epochs": 2})) > 0
