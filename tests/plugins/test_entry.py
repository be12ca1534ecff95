"""What a declared strategy may be called, and which settings it may have."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from plugin_files import STRATEGY, write_plugin

from cl_bench.errors import UserError
from cl_bench.plugins.composition import parse, parse_term
from cl_bench.plugins.entry import check_name
from cl_bench.plugins.plugin_files import load_plugin_files

pytestmark = pytest.mark.usefixtures("declared_here_alone")


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_plugin, tmp_path)


def test_settings_that_cannot_be_are_said(plugin: Callable[..., Path]) -> None:
    load_plugin_files([plugin(content=STRATEGY.replace("weight: float", "weight: 'Nope'"), name="odd")])
    with pytest.raises(UserError, match="strategy odd: the type of a setting is not known: name 'Nope'"):
        parse("odd")
    neutral = STRATEGY.replace('summary="mine"', "neutral={'wait': 0.0}")
    with pytest.raises(UserError, match="unknown neutral setting of strategy 'odder' 'wait'"):
        load_plugin_files([plugin("odder.py", neutral, "odder")])


@pytest.mark.parametrize("name", ["", "a+b", "a,b", "a[b=1]", "a b", "a.b", "1st", "baseline", "-a"])
def test_a_name_that_no_list_of_strategies_could_hold(plugin: Callable[..., Path], name: str) -> None:
    with pytest.raises(UserError, match=r"a strategy (needs a name of letters, digits|cannot be called 'baseline')"):
        load_plugin_files([plugin(name=name)])


@pytest.mark.parametrize("name", ["kd", "_own", "wise-ft", "größe2"])
def test_a_name_that_can_be_written(name: str) -> None:
    check_name(name)
    assert parse_term(f"{name}[weight=1]", name) == (name, "weight=1")
