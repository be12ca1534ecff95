"""Finding strategies, kinds and formats by their names, and which file a name comes from."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from plugin_files import STRATEGY, write_plugin

from cl_bench.errors import UserError
from cl_bench.plugins.composition import parse
from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.plugins.registry import Registry, formats, kinds, strategies

pytestmark = pytest.mark.usefixtures("declared_here_alone")


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_plugin, tmp_path)


def test_the_built_in_ones_are_found() -> None:
    assert {"naive", "kd", "replay", "joint"} <= set(strategies)
    assert set(kinds) == {"segmentation", "detection", "classification", "keypoints"}
    assert set(formats) == {
        "voc",
        "coco",
        "image_folder",
        "scenes",
        "cards",
        "torch_dataset",
        "torchvision",
        "yolo",
        "voc_xml",
        "mask_pairs",
    }
    assert [strategies.broken, kinds.broken, formats.broken] == [{}, {}, {}]
    assert list(kinds) == sorted(kinds)


def test_an_unknown_name_comes_with_the_nearest() -> None:
    with pytest.raises(UserError, match="unknown kind 'segmentaton'; did you mean 'segmentation'"):
        kinds.get("segmentaton")
    with pytest.raises(UserError, match="unknown data format 'zzz'; known: cards, coco, image_folder, mask_pairs, "):
        formats.get("zzz")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise KeyError('nope')", "strategy odd cannot be built: KeyError: 'nope'"),
        ("return [3]", "strategy odd returns 3, which is no plug-in"),
        ("return [type('P', (), {'acts_from': 'two', 'before_training_exp': 0})()]", "acts_from is the number of a"),
    ],
)
def test_what_a_strategy_cannot_be_is_said(plugin: Callable[..., Path], body: str, said: str) -> None:
    load_plugin_files([plugin(content=STRATEGY.replace("return []", body), name="odd")])
    with pytest.raises(UserError, match=said):
        parse("odd")


def test_one_name_in_two_files_names_both(plugin: Callable[..., Path]) -> None:
    first, second = plugin("one.py"), plugin("two.py")
    with pytest.raises(UserError) as caught:
        load_plugin_files([first, second])
    assert str(caught.value) == f"strategy 'mine' is defined twice: in {first} and in {second}"


def test_the_name_of_a_built_in_one_is_taken(plugin: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="strategy 'kd' is defined twice"):
        load_plugin_files([plugin(name="kd")])


@pytest.mark.parametrize("renamed", ["another", "build"])
def test_one_name_twice_in_one_file(plugin: Callable[..., Path], renamed: str) -> None:
    path = plugin(content=STRATEGY + STRATEGY.replace("def build", f"def {renamed}"))
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            load_plugin_files([path])
        assert str(caught.value) == f"strategy 'mine' is defined twice in {path}"
    load_plugin_files([plugin()])  # and is no more


def test_one_kind_twice_in_one_file(plugin: Callable[..., Path]) -> None:
    text = "from cl_bench.plugins.registry import kind\n" + "@kind\nclass Depth:\n    name = 'depth'\n" * 2
    with pytest.raises(UserError, match=r"kind 'depth' is defined twice in .*mine\.py"):
        load_plugin_files([plugin(content=text)])


def test_a_broken_entry_is_listed_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("x", "no_such_module:build", "cl_bench.strategies")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point] if "strategies" in group else [])
    registry: Registry[object] = Registry("strategy", "cl_bench.strategies", "cl_bench.strategies")
    registry.load()
    with pytest.raises(UserError, match="no_such_module:build is not importable: ModuleNotFoundError"):
        registry.get("theirs")
    assert registry.broken == {"no_such_module:build": "ModuleNotFoundError: No module named 'no_such_module'"}


def test_a_broken_module_is_listed_and_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "some_plugins"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "bad.py").write_text("raise RuntimeError('not today')")
    (package / "exits.py").write_text("raise SystemExit(0)")
    (package / "good.py").write_text("LOADED = True")
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[object] = Registry("thing", "some_plugins", "some_plugins")
    assert list(registry) == []
    assert registry.broken == {"some_plugins.bad": "RuntimeError: not today", "some_plugins.exits": "SystemExit: 0"}
    assert sys.modules["some_plugins.good"].LOADED
