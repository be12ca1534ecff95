"""What tells the code of one strategy, kind or format from that of another."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from plugin_files import STRATEGY, write_plugin

from cl_bench.plugins.code_origin import code_identity
from cl_bench.plugins.plugin_files import load_plugin_files
from cl_bench.plugins.registry import kinds, strategies

pytestmark = pytest.mark.usefixtures("declared_here_alone")


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[..., Path]:
    return partial(write_plugin, tmp_path)


def test_the_code_of_a_plugin_is_identified_and_ours_is_not(plugin: Callable[..., Path]) -> None:
    load_plugin_files([plugin("one.py", name="one"), plugin("two.py", name="two")])
    one, two = (code_identity(strategies.get(name)) for name in ("one", "two"))
    assert one is not None
    assert one != two
    assert code_identity(strategies.get("kd")) is None
    assert code_identity(kinds.get("detection")) is None


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
    importlib.reload(sys.modules["their_package"])
    assert code_identity(strategies.get("theirs")) == before
    (folder / "loss.py").write_text("FACTOR = 2\n")
    assert code_identity(strategies.get("theirs")) == before, "what is imported is still what it was"
    importlib.reload(sys.modules["their_package"])
    assert code_identity(strategies.get("theirs")) != before
