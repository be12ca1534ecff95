"""What is told of every key of the YAML."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from conftest import message
from test_schema import SMALL, small, task

from cl_bench.config.complaints import ELSEWHERE
from cl_bench.config.keys import OF_FILES, Key, description, find, keys
from cl_bench.config.schema import Experiment, Protocol, TaskConfig


def test_every_key_has_a_meaning_and_an_example() -> None:
    expected = {*Experiment.model_fields, *(f"tasks.NAME.{name}" for name in {*TaskConfig.model_fields})}
    expected -= {f"tasks.NAME.{name}" for name in Protocol.model_fields}
    assert expected <= keys().keys()
    for key in keys().values():
        assert len(key.means) > 8, key
        assert key.takes, key
        assert key.example, key


@pytest.mark.parametrize("key", [key for key in keys().values() if key not in OF_FILES], ids=lambda key: key.name)
def test_every_example_is_taken(key: Key) -> None:
    value = yaml.safe_load(key.example)
    section, _, name = key.name.rpartition(".")
    if section == "tasks.NAME.corruption":
        taken: Any = small(tasks=task(corruption={"name": "blur", name: value})).tasks[0].corruption
    elif section == "tasks.NAME":
        named = {"learns": {"classes": ["apple", "pear"]}}.get(name, {})
        taken = small(tasks=task(**{**named, name: value})).tasks[0]
    elif name == "orders":
        tasks = [{**SMALL["tasks"][0], "name": one} for one in ("seg", "det", "cls")]  # type: ignore[dict-item]
        taken = small(tasks=tasks, orders=value)
    else:
        found = small(**({section: {name: value}} if section else {name: value}))
        taken = getattr(found, section) if section else found
    assert name in taken.model_fields_set, "what the example sets is set"


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("learning_rate", "learning_rate"),
        ("lr", "learning_rate"),
        ("imgsz", "image_size"),
        ("backbone", "model.backbone"),
        ("flip", "augment.flip"),
        ("tasks.det.levels", "tasks.NAME.levels"),
        ("tasks.levels", "tasks.NAME.levels"),
        ("tasks.det.epochs", "epochs"),
        ("tasks.det.data.path", "tasks.NAME.data"),
        ("tasks", "tasks"),
        ("severity", "tasks.NAME.corruption.severity"),
        ("sweep", "sweep"),
    ],
)
def test_a_key_is_found_however_it_is_written(written: str, found: str) -> None:
    assert find(written).name == found


def test_an_unknown_key_comes_with_the_nearest() -> None:
    assert message(find, "levls") == "unknown key 'levls'; did you mean 'tasks.NAME.levels'?"
    assert message(find, "zzz").startswith("unknown key 'zzz'; known: augment, ")


def test_what_is_told_of_a_key() -> None:
    assert description(find("epochs")).splitlines() == [
        "epochs",
        "  Passes over a task's training images in a stage.",
        "  takes:    a whole number (from 1)",
        "  default:  5",
        "  in YAML:  epochs: 5",
        "  at a run: --set epochs=5",
        "  one task: --set tasks.NAME.epochs=5",
    ]
    assert "  in YAML:  augment: {flip: true}" in description(find("flip"))
    assert "  takes:    one of per_stage, total" in description(find("schedule"))


def test_names_of_other_tools_lead_to_keys_that_there_are() -> None:
    for key, names in ELSEWHERE.items():
        assert all(find(name) == find(key) for name in names), key
