"""The experiment: what it accepts, what it says of everything else, and how it is changed from outside."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import message
from pydantic import ValidationError

from cl_bench.config.names import kept_as
from cl_bench.config.presets import load_experiment, presets
from cl_bench.config.schema import Augment, Experiment, Protocol, validate

SMALL = {"name": "small", "tasks": [{"name": "a", "kind": "classification", "data": {"format": "scenes"}}]}


def small(**changes: Any) -> Experiment:
    return validate({**deepcopy(SMALL), **changes}, "small.yaml")


def task(**changes: Any) -> list[dict[str, Any]]:
    return [{**deepcopy(SMALL["tasks"][0]), **changes}]  # type: ignore[dict-item]


def test_the_literal_preset_is_the_protocol() -> None:
    found = load_experiment("unified_onehead")
    assert [task.name for task in found.tasks] == ["seg", "det", "cls"]
    assert found.resolved_orders() == (("seg", "det", "cls"),)
    for config in found.tasks:
        assert found.protocol(config).model_dump() == {
            "epochs": 5,
            "batch_size": 4,
            "image_size": 512,
            "learning_rate": 8e-4,
            "weight_decay": 1e-4,
            "backbone_rate": 1.0,
            "early_rate": 1.0,
            "warmup_steps": 0,
            "clip_norm": 0.0,
            "ema_decay": 0.0,
            "batch_norm": "train",
            "augment": Augment().model_dump(),
        }
    assert (found.schedule, found.model.backbone, found.model.weights) == ("total", "efficientnet_b0", "imagenet")
    assert [len(config.classes or ()) for config in found.tasks] == [21, 10, 10]
    assert [config.levels for config in found.tasks] == [(8,), (32,), (32,)]
    assert found.tasks[1].predictor == "literal"


@pytest.mark.parametrize("name", sorted(presets()))
def test_every_preset_is_valid_and_comes_back_from_its_own_yaml(name: str, tmp_path: Path) -> None:
    found = load_experiment(name)
    assert found.name == kept_as(name)
    path = tmp_path / "resolved.yaml"
    path.write_text(found.to_yaml())
    assert load_experiment(str(path)) == found


def test_the_resolved_yaml_holds_every_default_and_small_numbers(tmp_path: Path) -> None:
    found = small(learning_rate=1e-5, description="Übung", orders=[["a"]])
    content = yaml.safe_load(found.to_yaml())
    assert set(content) == set(Experiment.model_fields)
    (tmp_path / "x.yaml").write_text(found.to_yaml(), encoding="utf-8")
    assert load_experiment(str(tmp_path / "x.yaml")) == found


def test_an_experiment_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        small().epochs = 3


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"epoch": 3}, "small.yaml: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"tasks": task(epoch=3)}, "small.yaml: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"tasks": task(clases=["x"])}, "small.yaml: unknown key 'clases'; did you mean 'classes'?"),
        ({"model": {"backbon": "x"}}, "small.yaml: unknown key 'backbon'; did you mean 'backbone'?"),
        ({"model": {"epochs": 3}}, "small.yaml: unknown key 'epochs'; known: backbone, neck_channels"),
    ],
)
def test_unknown_keys_come_with_the_nearest(changes: dict[str, Any], expected: str) -> None:
    assert message(small, **changes).startswith(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"image_size": 100}, "image_size: Input should be a multiple of 32"),
        ({"tasks": task(image_size=100)}, "tasks.0.image_size: Input should be a multiple of 32"),
        ({"image_size": 0}, "image_size: Input should be greater than or equal to 32"),
        ({"epochs": 0}, "epochs: Input should be greater than or equal to 1"),
        ({"learning_rate": 0}, "learning_rate: Input should be greater than 0"),
        ({"learning_rate": "fast"}, "learning_rate: Input should be a valid number"),
        ({"weight_decay": -1}, "weight_decay: Input should be greater than or equal to 0"),
        ({"seeds": [0, -1]}, "seeds must not be negative"),
        ({"seeds": [1, 1]}, "seeds names something twice: (1, 1)"),
        ({"seeds": []}, "seeds need at least one entry"),
        ({"strategies": ["kd", "naive", "kd"]}, "strategies names something twice"),
        ({"orders": [["a"], ["a"]]}, "orders names something twice"),
        ({"orders": [["b"]]}, "unknown task 'b'; known: a (in orders)"),
        ({"orders": [["a", "a"]]}, "an order must name a task, and none twice in a row: a, a"),
        ({"orders": [[]]}, "an order must name a task, and none twice in a row: empty"),
        ({"tasks": []}, "tasks: Tuple should have at least 1 item"),
        ({"tasks": task() * 2}, "two tasks share a name: a, a"),
        ({"tasks": task(data={"path": "x"})}, "tasks.0: data of task a needs a 'format'"),
        ({"tasks": task(levels=7)}, "tasks.0.levels.0: Input should be 8, 16, 32 or 64"),
        ({"tasks": task(levels=[16, 8])}, "tasks.0.levels: must name at least one stride, each once, the finest first"),
        ({"tasks": task(levels=[])}, "tasks.0.levels: must name at least one stride"),
        (
            {"augment": {"zoom": [2, 0.5]}},
            "augment: zoom must be the least and the greatest enlargement, not [2.0, 0.5]",
        ),
        ({"augment": {"flips": True}}, "unknown key 'flips'; did you mean 'flip'"),
        ({"tasks": task(augment={"mosaics": 1})}, "unknown key 'mosaics'; did you mean 'mosaic'"),
        ({"ema_decay": 1.0}, "ema_decay: Input should be less than 1"),
        ({"split": "test"}, "split: Input should be 'val', 'dev', 'dev1', 'dev2' or 'dev3'"),
        ({"tasks": task(name="a/b")}, "tasks.0.name: may hold letters, digits, '_' and '-' only"),
        ({"name": "../up"}, "name: may hold letters, digits, '_' and '-' only"),
        ({"schedule": "sometimes"}, "schedule: Input should be 'per_stage' or 'total'"),
        ({"model": {"neck_channels": 0}}, "model.neck_channels: Input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_names_file_and_key(changes: dict[str, Any], expected: str) -> None:
    found = message(small, **changes)
    assert found.startswith("small.yaml: ")
    assert expected in found


def test_a_task_may_set_its_own_protocol() -> None:
    own = {
        **{"epochs": 9, "batch_size": 2, "image_size": 96, "learning_rate": 0.5, "weight_decay": 0.0},
        **{
            "backbone_rate": 0.0,
            "early_rate": 0.5,
            "warmup_steps": 3,
            "clip_norm": 1.0,
            "ema_decay": 0.9,
            "batch_norm": "frozen",
        },
        "augment": {"mosaic": 0.5},
    }
    assert own.keys() == Protocol.model_fields.keys()
    both = small(tasks=[*task(), *task(name="b", **own)], augment={"flip": True}, epochs=3)
    assert both.protocol(both.tasks[1]) == Protocol(**own)
    assert both.protocol(both.tasks[0]).epochs == 3
    assert both.protocol(both.tasks[0]).augment.flip is True
    assert both.protocol(both.tasks[1]).augment.flip is False, "a task's own block stands for itself"
    assert both.resolved_orders() == (("a", "b"),)


def test_an_order_may_leave_tasks_out() -> None:
    found = small(tasks=[*task(), *task(name="b")], orders=[["b"], ["b", "a"]])
    assert found.resolved_orders() == (("b",), ("b", "a"))
