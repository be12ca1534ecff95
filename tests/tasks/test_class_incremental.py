"""Tasks that share one predictor and learn a part of its classes each."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin
from conftest import message

from cl_bench.config.schema import TaskConfig
from cl_bench.data.base import VOID
from cl_bench.errors import UserError
from cl_bench.kinds.base import Distill, Task, labelled_together
from cl_bench.model.unified import build_model
from cl_bench.plugins.entry import StrategyEntry
from cl_bench.plugins.registry import kinds, strategies
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary
from cl_bench.runner.prepare import Prepared
from cl_bench.runner.prepare import prepare as prepare_experiment
from cl_bench.runner.run import train
from cl_bench.stages.trainer import Trainer
from cl_bench.tasks.catalog import _learns
from cl_bench.tasks.dataset import TaskDataset
from cl_bench.training.harness import Harness

DIGITS = [str(digit) for digit in range(10)]
DATA = {"format": "scenes", "train": 20, "val": 20, "size": 64}
EARLY, LATE = DIGITS[:6], DIGITS[6:]


def parts(kind: str, **options: Any) -> list[dict[str, Any]]:
    """The two parts of a task of this kind."""
    shared = {"kind": kind, "data": DATA, "head": "digits", **options}
    return [{"name": "early", "learns": EARLY, **shared}, {"name": "late", "learns": LATE, **shared}]


@pytest.fixture
def prepared(tiny: Callable[..., str], results: Path) -> Callable[..., Prepared]:
    """Return a function that prepares both parts, learnt one after the other."""

    def prepare(kind: str, *strategies: str, **options: Any) -> Prepared:
        return prepare_experiment(tiny(tasks=parts(kind, **options)), strategies=list(strategies or ("naive",)))

    return prepare


def trainer(prepared: Prepared) -> Trainer:
    return Trainer(prepared.experiment, prepared.catalog, prepared.weights, prepared.store)


def named(task: Task, names: list[str]) -> set[int]:
    return {task.classes.index(name) for name in names}


def shown(prepared: Prepared, name: str, beside: tuple[str, ...] = ()) -> set[int]:
    """The labels in the training targets of a part."""
    images, _ = trainer(prepared).datasets(name, 0, beside)
    return shown_in(images)


def shown_in(images: TaskDataset) -> set[int]:
    """The labels in the targets of a data set."""
    found: set[int] = set()
    for index in range(len(images)):
        _, target = images[index]
        found |= {int(label) for key in target.keys() - {"index", "boxes"} for label in target[key].unique()}
    return found - {VOID}


@pytest.mark.parametrize("kind", ["segmentation", "detection", "classification"])
def test_a_part_shows_its_own_labels_and_all_where_both_are_trained_together(
    prepared: Callable[..., Prepared], kind: str
) -> None:
    both = prepared(kind)
    task = both.catalog[0].task
    nothing = {0} if kind == "segmentation" else set()
    early, late = named(task, EARLY), named(task, LATE)
    assert shown(both, "early") == early | nothing
    assert shown(both, "late") == late | nothing
    together = ("early", "late")
    joint = set.union(*(shown(both, name, together) for name in together))
    assert joint == early | late | nothing
    if kind != "classification":
        assert shown(both, "early", together) & late, "an image shows what either part learns"


def test_every_image_of_a_part_shows_a_class_of_it(prepared: Callable[..., Prepared]) -> None:
    early, late = (entry.audit for entry in prepared("classification").catalog)
    assert {e.target for e in early.train.examples} == {e.target for e in early.val.examples} == set(range(6))
    assert {e.target for e in late.val.examples} == set(range(6, 10))
    for kind in ("segmentation", "detection"):
        for entry in prepared(kind).catalog:
            for example in entry.audit.train.examples:
                counts = entry.task.kind.count(type(entry.audit.train)(entry.task.classes, (example,)))
                assert counts[[label for label in entry.task.labels if label != entry.task.kind.background]].any()
            assert len(entry.audit.val.examples) == DATA["val"], "what is not a part's own must not be found either"


def test_one_predictor_serves_both_from_the_same_first_weights(prepared: Callable[..., Prepared]) -> None:
    both = prepared("segmentation")
    model = trainer(both).untrained(0).eval()
    assert list(model.predictors) == ["digits"]
    outputs = model(torch.zeros(1, 3, 64, 64))
    assert torch.equal(outputs["early"], outputs["late"])
    alone = build_model(both.experiment.model, [both.catalog[1].task], both.weights, 0)
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_a_perfect_segmentation_scores_1_on_the_classes_of_the_part_alone(
    prepared: Callable[..., Prepared],
) -> None:
    entry = prepared("segmentation").catalog[1]
    metric = entry.task.kind.metric(entry.task, entry.audit.val)
    swapped = entry.task.kind.metric(entry.task, entry.audit.val)
    early = sorted(named(entry.task, EARLY))
    # The classes of the other part are all mistaken for one another, which is no business of this one's.
    moved = torch.arange(11)
    moved[early] = torch.tensor(early[1:] + early[:1])
    for index, example in enumerate(entry.audit.val.examples):
        mask = torch.from_numpy(entry.task.kind.decode_target(example.target, None).astype(np.int64))
        truth = torch.where(mask == VOID, 0, mask)
        metric.update(torch.nn.functional.one_hot(truth, 11).permute(2, 0, 1)[None].float(), [index])
        swapped.update(torch.nn.functional.one_hot(moved[truth], 11).permute(2, 0, 1)[None].float(), [index])
    assert metric.compute() == swapped.compute() == {"mIoU": 1.0}
    assert set(np.flatnonzero(~np.isnan(metric.per_class()))) == named(entry.task, LATE)
    assert np.allclose(metric.resampled(np.ones((2, DATA["val"]))), 1.0)


def test_the_other_part_s_boxes_are_neither_wanted_nor_missed(prepared: Callable[..., Prepared]) -> None:
    entry = prepared("detection", levels=8).catalog[0]
    kind, early = entry.task.kind, named(entry.task, EARLY)
    metric = kind.metric(entry.task, entry.audit.val)
    for index, example in enumerate(entry.audit.val.examples):
        boxes = example.target.without_crowds()
        mine = np.isin(boxes.labels, list(early))
        metric._ap.update(index, boxes.xyxy[mine], np.ones(mine.sum()), boxes.labels[mine])
    assert metric.compute()["AP50"] == pytest.approx(1.0)
    assert set(np.flatnonzero(~np.isnan(metric.per_class()))) <= early


@pytest.mark.parametrize("kind", ["segmentation", "detection", "classification"])
def test_what_a_part_did_not_learn_is_not_distilled(prepared: Callable[..., Prepared], kind: str) -> None:
    task = prepared(kind).catalog[0].task
    first = {"segmentation": 0, "detection": 5, "classification": 0}[kind]
    shape = (2, first + len(task.classes)) + {"segmentation": (4, 4), "detection": (4,), "classification": ()}[kind]
    teacher = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    other, own = teacher.clone(), teacher.clone()
    other[:, [first + label for label in named(task, LATE)]] += 3.0
    own[:, first + min(named(task, EARLY))] += 3.0
    assert float(task.kind.distillation(task, other, teacher, Distill())) == 0
    assert float(task.kind.distillation(task, own, teacher, Distill())) > 0


def test_tasks_of_another_head_are_not_labelled_together(prepared: Callable[..., Prepared]) -> None:
    early, late = (entry.task for entry in prepared("classification").catalog)
    assert labelled_together(early, [early, late]).labels == tuple(range(10))
    assert labelled_together(early, [Task(**{**vars(late), "head": "other"})]) == early


def test_both_are_trained_tabled_and_forgotten(prepared: Callable[..., Prepared]) -> None:
    both = prepared("classification", "naive", "kd+replay", "feature_kd", "joint")
    assert train(both) == {}
    found = read_results(both.folder)
    table = summary(found)
    assert table["task"].tolist() == ["early", "late"] * 4
    assert not any(math.isnan(value) for value in table["final"])
    for run in both.plan.runs[:3]:
        before, after = (both.store.weights(key)["predictors.digits.logits.weight"] for key in run.stages)
        assert not torch.equal(before, after), f"{run.strategy} leaves the shared predictor as the early part left it"
    assert both.store.describe(both.plan.runs[1].stages[1])["memory"].keys() == {"early"}


@pytest.mark.parametrize("strategy", ["kd+replay", "EMA"])
def test_a_past_part_keeps_the_labels_that_it_showed(
    tiny: Callable[..., str], results: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    """Whether its stages are trained one by one or, with a plug-in that nothing can store, in one process."""
    seen: list[dict[str, set[int]]] = []

    class Watch(SupervisedPlugin):
        def before_training_exp(self, strategy: Harness, **_: Any) -> None:
            there = {data.task.name: data for data in (*strategy.past, *strategy.current)}
            assert {task.name: set(task.labels) for task in strategy.past_tasks}.items() <= wanted.items()
            seen.append({name: shown_in(data) for name, data in there.items()})

    class Opaque(SupervisedPlugin):
        """Holds what cannot be stored, from the first stage on."""

    tasks = parts("classification")
    tasks[0]["learns"], tasks[1]["learns"] = DIGITS[:4], DIGITS[4:7]
    tasks.append({**tasks[0], "name": "last", "learns": DIGITS[7:]})
    if strategy == "EMA":
        monkeypatch.setitem(strategies.entries, "EMA", StrategyEntry("EMA", lambda: [Opaque()]))
    three = prepare_experiment(tiny(tasks=tasks), strategies=[strategy])
    wanted = {
        entry.task.name: {int(entry.task.classes[label]) for label in entry.task.labels} for entry in three.catalog
    }
    watched = Trainer(three.experiment, three.catalog, three.weights, three.store, [Watch()])
    stages = three.plan.runs[0].stages
    assert bool(three.plan.stages[stages[0]].chain) == (strategy == "EMA")
    for chain in [stages] if strategy == "EMA" else [[key] for key in stages]:
        watched.train(three.plan, chain)
    assert [len(one) for one in seen] == [1, 2, 3]
    assert all(labels <= wanted[name] for one in seen for name, labels in one.items())


def test_a_part_s_key_depends_on_what_each_part_learns(tiny: Callable[..., str], results: Path) -> None:
    tasks = parts("classification")
    plain = prepare_experiment(tiny(tasks=tasks)).plan
    tasks[0] = {**tasks[0], "learns": DIGITS[:5]}
    changed = prepare_experiment(tiny(tasks=tasks)).plan
    assert not set(plain.stages) & set(changed.stages)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"learns": ["0", "eleven"]}, "task early (learns): unknown class 'eleven'"),
        ({"learns": []}, "tasks.0.learns: "),
        ({"head": "late"}, "the head 'late' has the name of a task"),
        ({"levels": 8}, "tasks early and late share the head 'digits' but not their levels"),
        ({"kind": "segmentation", "learns": ["background"]}, "nothing is learnt from the background"),
        ({"kind": "keypoints", "data": {"format": "cards"}, "learns": ["0"]}, "task early: keypoints has no parts"),
    ],
)
def test_what_cannot_be_shared_or_learnt_is_refused(
    tiny: Callable[..., str], results: Path, changes: dict[str, Any], wanted: str
) -> None:
    first, second = parts("classification")
    if changes.get("head") == "late":
        second = {key: value for key, value in second.items() if key != "head"}
    assert wanted in message(prepare_experiment, tiny(tasks=[{**first, **changes}, second]))


@pytest.mark.parametrize(("name", "head"), [("total", None), ("gradient_norm", None), ("values", None), ("x", "train")])
def test_a_task_cannot_have_the_name_of_something_else_in_a_stage(
    tiny: Callable[..., str], results: Path, name: str, head: str | None
) -> None:
    tasks = [{"name": name, "kind": "classification", "data": DATA, **({"head": head} if head else {})}]
    said = message(prepare_experiment, tiny(tasks=tasks))
    assert said == f"no task or head can be called {head or name!r}: it is the name of something else in a stage"


def test_what_a_part_does_not_learn_must_become_a_background() -> None:
    def learnt(*classes: str) -> tuple[int, ...]:
        config = TaskConfig(name="streets", kind="segmentation", data={"format": "voc"}, learns=("car",))
        return _learns(kinds.get("segmentation"), config, classes)

    assert learnt("_background_", "car", "road") == learnt("Other", "car", "road") == (1,)
    with pytest.raises(UserError, match=r"task streets \(learns\): pixels of .* become the first class, 'road'"):
        learnt("road", "car", "background")
