"""The store: artifacts are there whole or not at all, and nothing in them is taken on trust."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY

from cl_bench import api
from cl_bench.errors import UserError
from cl_bench.stages.key import differences, stage_key
from cl_bench.stages.store import Store, read_json, write_csv, write_json


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "stages")

    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError):
        store.add("key", write)
    assert "key" not in store
    assert list(store.root.iterdir()) == []


def test_of_two_writers_of_one_key_the_first_wins(tmp_path: Path) -> None:
    store = Store(tmp_path / "stages")
    for text in ("first", "second"):
        store.add("key", lambda folder, text=text: write_json(folder / "stage.json", {"text": text}))  # type: ignore[misc]
    assert store.describe("key")["text"] == "first"
    assert [path.name for path in store.root.iterdir()] == ["key"]


def test_values_read_back_as_the_same_bits(tmp_path: Path) -> None:
    store = Store(tmp_path / "stages")
    value = 0.1 + 0.2

    def write(folder: Path) -> None:
        row = {"epoch": 1, "task": "seg", "metric": "mIoU", "value": value}
        write_csv(folder / "evaluations.csv", [row], ["epoch", "task", "metric", "value"])
        write_json(folder / "stage.json", {})

    store.add("key", write)
    assert store.scores("key") == {("seg", "mIoU"): value}


@pytest.mark.parametrize("content", ["", "{", "[]", json.dumps({"schema": 99})])
def test_torn_or_newer_files_are_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "stage.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"stage\.json"):
        read_json(path)


def test_the_key_depends_on_every_setting_and_not_on_their_order() -> None:
    settings = {"a": 1, "b": {"c": [1, 2]}}
    assert stage_key(settings) == stage_key({"b": {"c": [1, 2]}, "a": 1})
    assert stage_key(settings) != stage_key({"a": 1, "b": {"c": [2, 1]}})
    assert differences(settings, {"a": 1, "b": {"c": [1, 3]}}) == ["b.c.1: 2 -> 3"]


def test_swapped_weights_of_a_parent_are_noticed(tiny: Callable[..., str], results: Path) -> None:
    prepared = api.prepare(tiny(orders=[["seg", "det"]]))
    first, second = prepared.plan.runs[0].stages
    other = prepared.plan.baseline("det", 0)
    api.train(prepared)
    weights = prepared.store.folder(first) / "model.safetensors"
    weights.write_bytes((prepared.store.folder(other) / "model.safetensors").read_bytes())
    for path in sorted(prepared.store.folder(second).iterdir()):
        path.unlink()
    prepared.store.folder(second).rmdir()
    failed = api.train(api.prepare(tiny(orders=[["seg", "det"]])))
    assert list(failed) == [second]
    assert "not those it ended with" in failed[second]
    assert "not those" in json.loads((results / "failed" / f"{second}.json").read_text())["reason"]


def test_keys_follow_what_decides_the_bits(tiny: Callable[..., str], results: Path) -> None:
    def keys(**changes: object) -> set[str]:
        return set(api.prepare(tiny(**changes)).plan.stages)

    base = keys()
    for change in (
        {"threads": 2},
        {"seeds": [1]},
        {"learning_rate": 2e-3},
        {"weight_decay": 0.5},
        {"batch_size": 3},
        {"epochs": 3},
        {"image_size": 96},
        {"augment": {}},
        {"evaluation_batch": 4},
    ):
        assert not base & keys(**change), change
    tasks = [{**task, "learning_rate": 1e-3} for task in TINY["tasks"]]
    joint = [keys(tasks=tasks, strategies=["joint"], learning_rate=rate) for rate in (1e-3, 2e-3)]
    assert len(joint[0] - joint[1]) == 1, "joint training takes the experiment's rate"
    assert keys(description="other words", trackers=["tensorboard"]) == base
