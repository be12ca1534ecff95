"""Importing the files that the user names: what they add, what they import, and what is broken."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from plugin_files import STRATEGY, write_plugin

from cl_bench.errors import UserError
from cl_bench.plugins import source_hash
from cl_bench.plugins.code_origin import code_identity, source_of
from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.plugins.registry import formats, strategies

pytestmark = pytest.mark.usefixtures("declared_here_alone")


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_plugin, tmp_path)


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


def test_what_a_file_imports_from_beside_it_is_part_of_its_code(
    plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    load_plugin_files([more])
    assert codes() == before
    (tmp_path / "its_deeper_helper.py").write_text("FACTOR = 2\n")
    assert codes() == before, "what is imported is still what it was"
    load_plugin_files([more])
    assert codes()[0] == before[0] == hashlib.sha256((tmp_path / "alone.py").read_bytes()).hexdigest()
    assert codes()[1] != before[1]
    (tmp_path / "its_helper.py").write_text("import its_deeper_helper\nNEW = True\n")
    load_plugin_files([more])
    helper = strategies.get("more").parameters["late"].default
    assert helper.NEW, "and is imported anew"
    (tmp_path / "its_deeper_helper.py").write_text("def broken(:")
    with pytest.raises(UserError, match=r"more.py failed to import: SyntaxError"):
        load_plugin_files([more])


def test_a_helper_that_python_would_take_from_elsewhere_is_refused(plugin: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "twin_helper.py").write_text(f"NAME = {name!r}\n")
    using = "from twin_helper import NAME\n" + STRATEGY
    load_plugin_files([plugin("x/one.py", using, "one")])
    with pytest.raises(UserError, match=r"imports 'twin_helper' from .*x/twin_helper\.py, not from beside it"):
        load_plugin_files([plugin("y/two.py", using, "two")])
    assert "two" not in strategies


def test_a_package_that_a_file_lies_in_is_part_of_its_code_and_imported_anew(
    plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "around" / "loose").mkdir(parents=True)
    for file, text in (("__init__", ""), ("values", "from .deep import V"), ("deep", "V = 1"), ("loose/part", "V = 1")):
        (tmp_path / "around" / f"{file}.py").write_text(f"{text}\n")
    using = "from around.loose import part\nfrom around.values import V\n"
    path = plugin("around/inside.py", using + STRATEGY.replace("= {weight}", "= V + part.V"), "inside")
    seen = set()
    for number, file in enumerate(("around/deep.py", "around/loose/part.py")):
        (tmp_path / file).write_text(f"V = {number + 2}\n")
        load_plugin_files([path])
        seen.add((strategies.get("inside").parameters["weight"].default, code_identity(strategies.get("inside"))))
    assert {weight for weight, _ in seen} == {3, 5}
    assert len({code for _, code in seen}) == 2


def test_packages_beside_a_file_are_followed_and_a_link_to_it_is_the_same(
    plugin: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


@pytest.mark.slow
def test_the_name_of_a_built_in_one_is_taken_in_a_new_process_too(plugin: Callable[..., Path]) -> None:
    import subprocess  # not above: all of these tests would count as slow

    code = (
        f"from cl_bench.plugins.plugin_files import load_plugin_files; load_plugin_files([{str(plugin(name='kd'))!r}])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "strategy 'kd' is defined twice" in found.stderr


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


def test_what_was_renamed_in_an_edited_file_or_helper_is_not_defined_twice(
    plugin: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "renamed_helper.py").write_text(STRATEGY.replace("{name}", "helped").replace("{weight}", "1.0"))
    load_plugin_files([plugin(content="import renamed_helper\n" + STRATEGY)])
    for file in (tmp_path / "renamed_helper.py", tmp_path / "mine.py"):
        file.write_text(file.read_text().replace("def build", "def another"))
    load_plugin_files([tmp_path / "mine.py"])
    assert [strategies.get(name).build.__name__ for name in ("helped", "mine")] == ["another", "another"]


def test_what_a_file_that_failed_has_declared_is_gone_and_what_it_no_longer_declares_too(
    plugin: Callable[..., Path],
) -> None:
    with pytest.raises(UserError, match="ZeroDivisionError"):
        load_plugin_files([plugin(content=STRATEGY + "1 / 0")])
    assert "mine" not in strategies
    load_plugin_files([plugin("mended.py")])
    with pytest.raises(UserError, match="ZeroDivisionError"):
        load_plugin_files([plugin("mended.py", STRATEGY + "1 / 0", weight=2.0)])
    assert strategies.get("mine").parameters["weight"].default == 1.0
    load_plugin_files([plugin("mended.py", name="renamed")])
    assert "renamed" in strategies
    assert "mine" not in strategies


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
