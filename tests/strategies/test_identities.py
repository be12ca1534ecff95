"""What decides a stage's key of strategies that once did something else: no old stage is taken for a new one."""

from __future__ import annotations

from typing import Any

import pytest

from cl_bench.plugins.composition import parse

BEFORE: dict[str, dict[str, Any]] = {
    "kd[weight=1.0,direction=student_teacher]": {"weight": 1.0, "temperature": 2.0, "direction": "student_teacher"},
    "feature_kd": {"weight": 1.0},
    "response_kd": {"weight": 1.0},
    "ema_teacher[weight=1.0]": {"weight": 1.0, "decay": 0.999, "temperature": 2.0},
    "l2_sp[weight=0.1]": {"weight": 0.1},
    "ewc[weight=0.1]": {"weight": 0.1, "decay": 1.0, "images": 100, "anchors": "latest"},
    "mas[weight=0.1]": {"weight": 0.1, "images": 100},
    "wise_ft[alpha=0.5]": {"alpha": 0.5},
    "rewind[share=0.5]": {"share": 0.5},
    "task_arithmetic": {"share": 1.0, "memory": 0, "tolerance": 0.05},
}
"""Settings in the keys of published stages of what does now what it did."""
CHANGED: dict[str, dict[str, Any]] = {
    "lwf": {"weight": 1.0, "temperature": 2.0, "warmup_epochs": 1},
    "pod": {"weight": 1.0},
    "si": {"weight": 1.0, "damping": 1e-3},
}
"""The same of what has changed since."""


def settings(text: str) -> dict[str, Any]:
    identity = parse(text).terms[0].identity()
    assert identity.keys() == {"name", "settings", "code"}, "a summary is no part of it"
    return identity["settings"]


def written(name: str, values: dict[str, Any]) -> str:
    return f"{name}[{','.join(f'{key}={value}' for key, value in values.items())}]"


@pytest.mark.parametrize("name", BEFORE)
def test_what_has_not_changed_keeps_its_stages(name: str) -> None:
    assert settings(name) == BEFORE[name]


@pytest.mark.parametrize("name", CHANGED)
def test_what_has_changed_never_takes_up_an_old_stage(name: str) -> None:
    assert settings(name) != CHANGED[name]
    assert settings(written(name, CHANGED[name])) != CHANGED[name], "also not where its settings are named"


@pytest.mark.parametrize(("name", "old"), [("pod", "adaptive"), ("si", "scaled")])
def test_old_stages_are_found_where_the_old_unit_is_asked_for(name: str, old: str) -> None:
    assert settings(written(name, {**CHANGED[name], old: "false"})) == CHANGED[name]
