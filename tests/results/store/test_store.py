"""The store: artifacts are there whole or not at all, and nothing in them is taken on trust."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import TINY
from filelock import SoftFileLock

import cl_bench
from cl_bench.errors import NewerVersionError, StageFailedError, UserError
from cl_bench.results.store.json_files import read_json, write_csv
from cl_bench.results.store.key import stage_key
from cl_bench.results.store.store import Store
from cl_bench.runner.prepare import Prepared, prepare
from cl_bench.runner.run import train
from cl_bench.stages.trainer import Trainer
from cl_bench.utils.nested import differences


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "stages")

    def write(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("cut off")

    with pytest.raises(RuntimeError):
        store.add("key", {}, write)
    assert "key" not in store
    assert list(store.root.iterdir()) == []


def test_of_two_writers_of_one_key_the_first_wins(tmp_path: Path) -> None:
    store = Store(tmp_path / "stages")
    for text in ("first", "second"):
        store.add("key", {"text": text}, lambda _: None)
    assert store.describe("key")["text"] == "first"
    assert [path.name for path in store.root.iterdir()] == ["key"]


def test_values_read_back_as_the_same_bits(tmp_path: Path) -> None:
    store = Store(tmp_path / "stages")
    value = 0.1 + 0.2

    def write(folder: Path) -> None:
        row = {"epoch": 1, "task": "seg", "metric": "mIoU", "value": value}
        write_csv(folder / "evaluations.csv", [row], ["epoch", "task", "metric", "value"])

    store.add("key", {}, write)
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


@pytest.fixture
def trained(tiny: Callable[..., str], results: Path, with_stages: Callable[[Prepared], Prepared]) -> Prepared:
    """Seg, then det, trained under naive."""
    return with_stages(prepare(tiny(orders=[["seg", "det"]], epochs=1)))


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    "name", ["stage.json", "evaluations.csv", "resamples.safetensors", "classes.csv", "model.safetensors"]
)
@pytest.mark.parametrize("harm", [flip, lambda path: path.write_bytes(path.read_bytes()[:-9]), Path.unlink])
def test_a_damaged_stage_is_noticed_and_trained_again(
    trained: Prepared, tiny: Callable[..., str], name: str, harm: Callable[[Path], object]
) -> None:
    first, second = trained.plan.runs[0].stages
    before = trained.store.weights(second), trained.store.scores(second)
    harm(trained.store.folder(first) / name)
    shutil.rmtree(trained.store.folder(second))
    started: list[str] = []
    again = prepare(tiny(orders=[["seg", "det"]], epochs=1))
    train(again, report=lambda key, state: started.append(key) if state == "started" else None)
    assert started == [first, second]
    after = again.store.weights(second), again.store.scores(second)
    assert all(torch.equal(after[0][tensor], before[0][tensor]) for tensor in before[0])
    assert after[1] == before[1]
    assert len(list((again.store.root / ".damaged").iterdir())) == 1, "kept for a look at it"


def test_a_description_that_was_edited_is_noticed(trained: Prepared) -> None:
    first = trained.plan.runs[0].stages[0]
    path = trained.store.folder(first) / "stage.json"
    content = json.loads(path.read_text())
    content["cost"]["train_seconds"] += 1
    path.write_text(json.dumps(content))
    assert first not in Store(trained.store.root)


def test_a_stage_of_a_newer_version_is_refused_and_left_alone(trained: Prepared, tiny: Callable[..., str]) -> None:
    first = trained.plan.runs[0].stages[0]
    path = trained.store.folder(first) / "stage.json"
    content = json.loads(path.read_text()) | {"schema": 99}
    del content["sha256"]
    seal = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    path.write_text(json.dumps({**content, "sha256": seal}))
    with pytest.raises(NewerVersionError, match=r"stage\.json was written by a newer version"):
        train(prepare(tiny(orders=[["seg", "det"]], epochs=1)))
    assert path.is_file()


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cl_bench.results.store.store.FileLock", SoftFileLock)
    with pytest.raises(UserError, match="without locks"), Store(tmp_path).claim("key"):
        pass
    assert not list((tmp_path / ".locks").iterdir()), "nothing is left that would look like a claim"


def test_a_result_that_was_changed_is_not_shown(trained: Prepared) -> None:
    before = cl_bench.load_results(trained.folder)
    flip(trained.store.folder(trained.plan.runs[0].stages[0]) / "evaluations.csv", 0.9)
    assert cl_bench.load_results(trained.folder).equals(before), "as it was exported"
    (trained.folder / "rows.csv").unlink()
    with pytest.raises(UserError, match="is damaged; run the experiment again"):
        cl_bench.load_results(trained.folder)


def test_weights_swapped_behind_the_stores_back_are_refused(trained: Prepared) -> None:
    first, second = trained.plan.runs[0].stages
    other = trained.store.folder(trained.plan.baseline("det", 0)) / "model.safetensors"
    (trained.store.folder(first) / "model.safetensors").write_bytes(other.read_bytes())
    trainer = Trainer(trained.experiment, trained.catalog, trained.weights, trained.store)
    with pytest.raises(StageFailedError, match="not those it ended with"):
        trainer.train(trained.plan, [second])


def test_a_stage_is_claimed_by_one_alone(tmp_path: Path) -> None:
    store = Store(tmp_path / "stages")
    with store.claim("key") as first:
        with store.claim("key") as second, store.claim("other") as other:
            assert (first, second, other) == (True, False, True)
        with store.claim("key") as still:
            assert not still, "the one who did not get it has freed it"
    with store.claim("key") as again:
        assert again


def test_keys_follow_what_decides_the_bits(tiny: Callable[..., str], results: Path) -> None:
    def keys(**changes: object) -> set[str]:
        return set(prepare(tiny(**changes)).plan.stages)

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


def test_a_stage_of_the_schema_without_hashes_is_trained_again(trained: Prepared, tiny: Callable[..., str]) -> None:
    first = trained.plan.runs[0].stages[0]
    path = trained.store.folder(first) / "stage.json"
    old = {key: value for key, value in json.loads(path.read_text()).items() if key not in ("files", "sha256")}
    path.write_text(json.dumps({**old, "schema": 1}))
    again = prepare(tiny(orders=[["seg", "det"]], epochs=1))
    assert [stage.key for stage in again.missing()] == [first]
