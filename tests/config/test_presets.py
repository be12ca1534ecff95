"""Experiments as files: what they extend, and how they are changed from outside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import TINY, message
from test_schema import SMALL

from cl_bench.config.presets import load_experiment
from cl_bench.plugins.code_origin import code_identity
from cl_bench.plugins.registry import strategies


def test_changes_as_text(tiny: Callable[..., str]) -> None:
    found = load_experiment(
        tiny(),
        [
            "epochs=7",
            "learning_rate=1e-4",
            "seeds=[1, 2]",
            "augment.flip=no",
            "model.backbone=efficientnet_b0",
            "tasks.det.epochs=9",
            "tasks.det.data.train=11",
            "description=a=b",
        ],
    )
    assert (found.epochs, found.learning_rate, found.seeds, found.augment.flip) == (7, 1e-4, (1, 2), False)
    assert found.model.backbone == "efficientnet_b0"
    assert found.model.neck_channels == TINY["model"]["neck_channels"]  # type: ignore[index]
    det = found.tasks[1]
    assert (det.epochs, det.data["train"], det.data["val"]) == (9, 11, 10)
    assert found.tasks[0].epochs is None
    assert found.description == "a=b"


def test_changes_as_a_mapping_and_the_last_one_wins(tiny: Callable[..., str]) -> None:
    assert load_experiment(tiny(), {"seeds": [4], "tasks.seg.levels": 16}).tasks[0].levels == (16,)
    assert load_experiment(tiny(), ["epochs=3", "epochs=4"]).epochs == 4


def test_a_section_that_the_file_lacks_can_be_set(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(SMALL))
    assert load_experiment(str(tmp_path / "x.yaml"), ["model.weights=none"]).model.weights == "none"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("epochs", "--set takes key=value, not 'epochs'"),
        ("=3", "--set takes key=value"),
        ("epochs={", "--set epochs: '{' is not a YAML value"),
        ("epochs=", "epochs: Input should be a valid integer"),
        ("epoch=3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("tasks.dett.epochs=3", "unknown task 'dett'; did you mean 'det'?"),
        ("tasks.det=3", "name the task and the key, as in tasks.NAME.epochs"),
        ("tasks.det.epoch=3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("epochs.more=3", "'epochs' holds no settings of its own"),
    ],
)
def test_changes_that_are_wrong(tiny: Callable[..., str], change: str, expected: str) -> None:
    assert expected in message(load_experiment, tiny(), [change])


def test_files_that_are_wrong(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    assert message(load_experiment, str(path)) == f"experiment file {path} does not exist"
    for content, expected in {
        "a: [": f"{path} is not readable YAML",
        "- a": f"{path} must hold a mapping of settings",
        "": f"{path} must hold a mapping of settings",
        "!!python/object/apply:os.getcwd []": f"{path} is not readable YAML",
    }.items():
        path.write_text(content)
        assert expected in message(load_experiment, str(path))
    path.write_bytes(b"name: \xff")
    assert "is not readable YAML" in message(load_experiment, str(path))
    assert "unknown experiment 'quickstrat'; did you mean 'quickstart'?" in message(load_experiment, "quickstrat")


def test_a_file_gives_its_name_where_none_is_set(tmp_path: Path) -> None:
    (tmp_path / "my-try.yml").write_text(yaml.safe_dump({"tasks": SMALL["tasks"]}))
    assert load_experiment(str(tmp_path / "my-try.yml")).name == "my-try"


def test_a_file_that_extends_another_says_only_what_is_different(tmp_path: Path, tiny: Callable[..., str]) -> None:
    base = load_experiment(tiny())
    (tmp_path / "base.yaml").write_text(Path(tiny()).read_text())
    (tmp_path / "mine.yaml").write_text(
        "extends: base.yaml\nseeds: [3, 4]\ntasks.det.epochs: 9\nmodel.shared_channels: 7\n"
    )
    found = load_experiment(str(tmp_path / "mine.yaml"), ["seeds=[5]"])
    assert (found.name, found.description, found.seeds) == ("mine", "", (5,))
    assert [task.epochs for task in found.tasks] == [None, 9, None]
    assert found.model == base.model.model_copy(update={"shared_channels": 7})
    assert found.learning_rate == base.learning_rate
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "third.yaml").write_text("extends: ../mine.yaml\nepochs: 2\n")
    third = load_experiment(str(tmp_path / "below" / "third.yaml"))
    assert (third.epochs, third.seeds, third.tasks) == (2, (3, 4), found.tasks)


def test_a_preset_can_be_extended(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: quickstart\nepochs: 1\n")
    found, preset = load_experiment(str(tmp_path / "mine.yaml")), load_experiment("quickstart")
    assert found == preset.model_copy(update={"name": "mine", "description": "", "epochs": 1})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("extends: quickstrat", "did you mean 'quickstart'?"),
        ("extends: gone.yaml", "gone.yaml does not exist"),
        ("extends: mine.yaml", "mine.yaml: extends mine.yaml, which extends this file"),
        ("extends: other.yaml", "other.yaml: extends mine.yaml, which extends this file"),
        ("extends: [3]", "mine.yaml: extends must name a preset or a YAML file, or list several, not 3"),
        ("extends: []", "mine.yaml: extends must name a preset or a YAML file, or list several, not []"),
        ("extends: [quickstart, gone.yaml]", "gone.yaml does not exist"),
        ("extends: quickstart\ntasks.dett.epochs: 3", "unknown task 'dett'; did you mean 'det'?"),
        ("extends: quickstart\ntasks.det: 3", "mine.yaml: tasks.det: name the task and the key"),
        ("extends: quickstart\nepoch: 3", "unknown key 'epoch'; did you mean 'epochs'?"),
        ("extends: quickstart\n1: 3", "unknown key '1'"),
    ],
)
def test_extensions_that_are_wrong(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "other.yaml").write_text("extends: mine.yaml")
    assert expected in message(load_experiment, str(tmp_path / "mine.yaml"))


def test_a_change_reaches_one_of_the_tasks_that_share_a_part_by_an_alias(tmp_path: Path) -> None:
    task = "{name: NAME, kind: classification, data: &data {format: scenes, val: 20}}"
    second = task.replace("NAME", "b").replace("&data {format: scenes, val: 20}", "*data")
    (tmp_path / "x.yaml").write_text(f"tasks:\n- {task.replace('NAME', 'a')}\n- {second}\n")
    found = load_experiment(str(tmp_path / "x.yaml"), ["tasks.a.data.val=30"])
    assert [one.data["val"] for one in found.tasks] == [30, 20]


def test_the_zoo_has_every_strategy() -> None:
    built_in = {name for name in strategies if code_identity(strategies.get(name)) is None}
    assert len(built_in) > 20
    assert built_in <= set(load_experiment("zoo").strategies)
