"""Finding strategies, kinds and formats: built-in ones, the user's files, and what is broken."""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cl_bench.errors import UserError
from cl_bench.plugins import source_hash
from cl_bench.plugins.composition import parse
from cl_bench.plugins.registry import Registry, code_identity, formats, kinds, load_plugin_files, source_of, strategies

STRATEGY = """
from cl_bench.plugins.registry import strategy

@strategy("{name}", summary="mine")
def build(weight: float = {weight}):
    return []
"""


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Everything loaded, and what a test adds gone afterwards."""
    registries = (strategies, kinds, formats)
    for registry in registries:
        registry.load()
    before = [(dict(registry.entries), dict(registry.broken)) for registry in registries]
    modules = set(sys.modules)
    yield
    for registry, (entries, broken) in zip(registries, before, strict=True):
        registry.entries, registry.broken = entries, broken
    for name in set(sys.modules) - modules:
        if name.startswith("cl_bench_plugin_"):
            del sys.modules[name]


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., Path]:
    def write(file: str = "mine.py", content: str = STRATEGY, name: str = "mine", weight: float = 1.0) -> Path:
        path = tmp_path / file
        path.write_text(content.replace("{name}", name).replace("{weight}", str(weight)))
        return path

    return write


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


def test_a_plugin_file_adds_strategies_kinds_and_formats(plugin: Callable[..., Path]) -> None:
    more = """
from cl_bench.plugins.registry import formats

@formats.register
class Mine:
    name = "my_format"
    kinds = ("classification",)
"""
    path = plugin(content=STRATEGY + more)
    load_plugin_files([path])
    assert list(strategies.get("mine").parameters) == ["weight"]
    assert strategies.get("mine").summary == "mine"
    assert formats.get("my_format").kinds == ("classification",)
    assert source_of(strategies.get("mine")) == str(path)
    load_plugin_files([path, str(path)])  # again is no collision


def test_the_code_of_a_plugin_is_identified_and_ours_is_not(plugin: Callable[..., Path]) -> None:
    load_plugin_files([plugin("one.py", name="one"), plugin("two.py", name="two")])
    one, two = (code_identity(strategies.get(name)) for name in ("one", "two"))
    assert one is not None
    assert one != two
    assert code_identity(strategies.get("kd")) is None
    assert code_identity(kinds.get("detection")) is None


def test_what_a_file_imports_from_beside_it_is_part_of_its_code(
    plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("its_helper.py", "its_deeper_helper.py", "of_no_use.py"):
        text = "def late():\n    import its_deeper_helper\n" if name == "its_helper.py" else "FACTOR = 1\n"
        (tmp_path / name).write_text(text)
    load_plugin_files([plugin("alone.py", name="alone")])
    using = "import json\nimport its_helper\nimport torch\n" + STRATEGY.replace(
        "weight: float = {weight}", "late=its_helper"
    )
    load_plugin_files([more := plugin("more.py", using, "more")])

    def codes() -> list[str | None]:
        return [code_identity(strategies.get(name)) for name in ("alone", "more")]

    before = codes()
    (tmp_path / "of_no_use.py").write_text("FACTOR = 2\n")
    assert codes() == before
    (tmp_path / "its_deeper_helper.py").write_text("FACTOR = 2\n")
    assert codes()[0] == before[0] == hashlib.sha256((tmp_path / "alone.py").read_bytes()).hexdigest()
    assert codes()[1] != before[1]
    (tmp_path / "its_helper.py").write_text("import its_deeper_helper\nNEW = True\n")
    load_plugin_files([more])
    helper = strategies.get("more").parameters["late"].default
    assert helper.NEW, "and is imported anew"
    (tmp_path / "its_deeper_helper.py").write_text("def broken(:")
    with pytest.raises(UserError, match=r"more.py failed to import: SyntaxError"):
        load_plugin_files([more])


def test_packages_beside_a_file_are_followed_and_a_link_to_it_is_the_same(
    plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (deep := tmp_path / "its_parts" / "sub").mkdir(parents=True)
    for file in (deep.parent / "__init__.py", deep / "weights.py"):  # sub is a namespace package
        file.write_text("W = 1\n")
    path = plugin("parted.py", "from its_parts.sub.weights import W\n" + STRATEGY, "parted")
    (link := tmp_path.parent / f"{tmp_path.name}_link").symlink_to(tmp_path)
    seen = set()
    for number, file in enumerate((deep.parent / "__init__.py", deep / "weights.py")):
        file.write_text(f"W = {number + 2}\n")
        found = set()
        for one in (path, link / "parted.py"):
            load_plugin_files([one])
            found.add(code_identity(strategies.get("parted")))
        assert len(found) == 1
        seen |= found
    assert len(seen) == 2


def test_this_package_is_no_helper_of_what_lies_beside_it_as_in_a_clone(plugin: Callable[..., Path]) -> None:
    path = plugin(content="from cl_bench import strategy\n@strategy('beside_it')\ndef beside_it(): return []\n")
    (path.parent / "cl_bench").symlink_to(Path(source_hash.__file__).parent)
    assert source_hash.files(path, path.stem) == [path.resolve()]
    before = dict(sys.modules)
    load_plugin_files([path])
    assert all(sys.modules.get(name) is module for name, module in before.items())
    assert "beside_it" in strategies


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


def test_settings_that_cannot_be_are_said(plugin: Callable[..., Path]) -> None:
    load_plugin_files([plugin(content=STRATEGY.replace("weight: float", "weight: 'Nope'"), name="odd")])
    with pytest.raises(UserError, match="strategy odd: the type of a setting is not known: name 'Nope'"):
        parse("odd")
    neutral = STRATEGY.replace('summary="mine"', "neutral={'wait': 0.0}")
    with pytest.raises(UserError, match="unknown neutral setting of strategy 'odder' 'wait'"):
        load_plugin_files([plugin("odder.py", neutral, "odder")])


def test_the_modules_of_a_package_are_followed_wherever_they_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    folder = tmp_path / "their_package" / "parts"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("from .parts import loss\n" + STRATEGY.replace("{name}", "theirs"))
    for file in (folder / "__init__.py", folder / "loss.py", folder / "unused.py"):
        file.write_text("")
    monkeypatch.setattr(strategies, "entries", dict(strategies.entries))
    (folder.parent / "__init__.py").write_text((folder.parent / "__init__.py").read_text().replace("{weight}", "1.0"))
    importlib.import_module("their_package")
    before = code_identity(strategies.get("theirs"))
    (folder / "unused.py").write_text("FACTOR = 2\n")
    assert code_identity(strategies.get("theirs")) == before
    (folder / "loss.py").write_text("FACTOR = 2\n")
    assert code_identity(strategies.get("theirs")) != before


def test_one_name_in_two_files_names_both(plugin: Callable[..., Path]) -> None:
    first, second = plugin("one.py"), plugin("two.py")
    with pytest.raises(UserError) as caught:
        load_plugin_files([first, second])
    assert str(caught.value) == f"strategy 'mine' is defined twice: in {first} and in {second}"


def test_the_name_of_a_built_in_one_is_taken(plugin: Callable[..., Path]) -> None:
    with pytest.raises(UserError, match="strategy 'kd' is defined twice"):
        load_plugin_files([plugin(name="kd")])


def test_the_name_of_a_built_in_one_is_taken_in_a_new_process_too(plugin: Callable[..., Path]) -> None:
    code = "from cl_bench.plugins.registry import *; import sys; load_plugin_files(sys.argv[1:]); strategies.get('kd')"
    path = plugin(name="kd")
    found = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "strategy 'kd' is defined twice" in found.stderr


@pytest.mark.xfail(strict=True, reason="only files are compared, so the second silently replaces the first")
def test_one_name_twice_in_one_file(plugin: Callable[..., Path]) -> None:
    twice = STRATEGY + STRATEGY.replace("def build", "def another").partition("\n\n")[2]
    with pytest.raises(UserError, match="strategy 'mine' is defined twice"):
        load_plugin_files([plugin(content=twice)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("import no_such_module", "failed to import: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def broken(:", "failed to import: SyntaxError"),
        ("1 / 0", "failed to import: ZeroDivisionError: division by zero"),
    ],
)
def test_a_broken_file_is_named(plugin: Callable[..., Path], content: str, message: str) -> None:
    path = plugin(content=content)
    for _ in range(2):  # a second attempt must not take it for loaded
        with pytest.raises(UserError) as caught:
            load_plugin_files([path])
        assert str(path) in str(caught.value)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_mended_file_can_be_loaded(plugin: Callable[..., Path]) -> None:
    with pytest.raises(UserError):
        load_plugin_files([plugin(content="1 / 0")])
    load_plugin_files([plugin()])
    assert strategies.get("mine").parameters["weight"].default == 1.0
    load_plugin_files([plugin(weight=2.0)])
    assert strategies.get("mine").parameters["weight"].default == 2.0, "an edited file is imported anew"


def test_what_was_edited_within_a_second_is_run_and_not_the_bytecode_of_before(
    plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    for number in (1, 2):
        helper = tmp_path / "edited_helper.py"
        helper.write_text(f"NUMBER = {number}\n")
        file = plugin(content="import edited_helper\n" + STRATEGY, weight=float(number))
        for path in (helper, file):
            os.utime(path, (10**9, 10**9))
        load_plugin_files([file])
        assert strategies.get("mine").parameters["weight"].default == number
        assert number == sys.modules["edited_helper"].NUMBER


def test_files_that_are_no_plugins(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"plugin file .*absent\.py does not exist"):
        load_plugin_files([tmp_path / "absent.py"])
    with pytest.raises(UserError, match="does not exist"):
        load_plugin_files([tmp_path])
    (tmp_path / "text.txt").write_text("x = 1")
    with pytest.raises(UserError, match=r"text\.txt is not a Python file"):
        load_plugin_files([tmp_path / "text.txt"])


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
