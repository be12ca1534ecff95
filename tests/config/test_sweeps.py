"""Lists of values spread out to a grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cl_bench.config.sweeps import points, spread
from cl_bench.errors import UserError
from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.plugins.registry import strategies
from cl_bench.runner.prepare import prepare


def test_a_strategy_without_lists_stands_for_itself() -> None:
    for text in ("naive", "kd[weight=2]+replay", "kd[temperature='1 2']"):
        assert spread(text) == [text]


def test_one_strategy_is_one_text_however_it_is_spaced() -> None:
    assert spread(" kd[ weight = 2, temperature=4 ] + replay") == ["kd[weight=2,temperature=4]+replay"]


def test_lists_of_settings_are_combined() -> None:
    assert spread("kd[weight=[1, 2],temperature=4]+replay[memory=[0,10]]") == [
        "kd[weight=1,temperature=4]+replay[memory=0]",
        "kd[weight=1,temperature=4]+replay[memory=10]",
        "kd[weight=2,temperature=4]+replay[memory=0]",
        "kd[weight=2,temperature=4]+replay[memory=10]",
    ]


def test_a_setting_that_takes_a_list_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "listed.py"
    path.write_text(
        "from cl_bench import strategy\n@strategy('listed')\n"
        "def listed(levels: list[int] = [8], weight: float = 1.0):\n    return []\n"
    )
    try:
        load_plugin_files([path])
        assert spread("listed[levels=[8,16],weight=[1,2]]") == [
            "listed[levels=[8,16],weight=1]",
            "listed[levels=[8,16],weight=2]",
        ]
    finally:
        strategies.entries.pop("listed", None)


@pytest.mark.parametrize(
    ("text", "said"), [("kd[weight=[]]", "weight has no value"), ("kdd[weight=[1,2]]", "did you mean 'kd'")]
)
def test_what_is_no_list_is_said(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        spread(text)


def test_an_experiment_spreads_its_strategies_and_shares_their_stages(tiny: Callable[..., str], results: Path) -> None:
    prepared = prepare(tiny(), strategies=["kd[weight=[0.5,1,2]]"])
    assert prepared.experiment.strategies == ("kd[weight=0.5]", "kd[weight=1]", "kd[weight=2]")
    assert len({run.stages[0] for run in prepared.plan.runs}) == 1
    with pytest.raises(UserError, match="something twice"):
        prepare(tiny(), strategies=["kd[weight=[1,2]]", "kd[weight=1]"])
    with pytest.raises(UserError, match="something twice"):
        prepare(tiny(), strategies=["kd[weight=1, temperature=4]", "kd[weight=1,temperature=4]"])


def test_points_are_named_after_what_they_change() -> None:
    found = points(["tasks.det.epochs=12,24", "learning_rate=1e-3"])
    assert [point.name for point in found] == [
        "-det_epochs_12-learning_rate_0_001",
        "-det_epochs_24-learning_rate_0_001",
    ]
    assert found[1].changes == ["tasks.det.epochs=24", "learning_rate=1e-3"]
    assert [point.changes for point in points(["augment.zoom=[1,2],[1,3]"])] == [
        ["augment.zoom=[1,2]"],
        ["augment.zoom=[1,3]"],
    ]
    assert points([])[0].changes == []


@pytest.mark.parametrize("text", ["epochs", "=1", "epochs="])
def test_what_is_no_sweep_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="--sweep takes KEY=VALUE,VALUE"):
        points([text])
    mappings = points(
        ["tasks.cls.corruption={name: noise, severity: 3},{name: blur, severity: 1}", "weight_decay=-1,1"]
    )
    assert [point.name for point in mappings[:2]] == [
        "-cls_corruption_name_noise_severity_3-weight_decay_minus_1",
        "-cls_corruption_name_noise_severity_3-weight_decay_1",
    ]
    assert points([], {"description": ['"a,b"', '"c]d"']})[1].changes == ['description="c]d"']
    with pytest.raises(UserError, match="names a key twice"):
        points(["epochs=1", "epochs=2"])
    with pytest.raises(UserError, match="two combinations of a sweep have one name, -learning_rate_0_001"):
        points(["learning_rate=1e-3,0.001"])
