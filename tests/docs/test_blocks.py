"""What tutorials and how-tos show is what happens: their blocks run, in their order, in an empty folder."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from blocks import blocks, play

from cl_bench import cli
from cl_bench.config.sweeps import spread
from cl_bench.plugins.composition import parse
from cl_bench.plugins.registry import formats, kinds, strategies
from cl_bench.utils.parsing import split_list

DOCS = Path(__file__).parent.parent.parent / "docs"
SHOWN = sorted(
    page.relative_to(DOCS).as_posix() for folder in ("tutorial", "how-to") for page in (DOCS / folder).glob("*.md")
)
PLAYED = [name for name in SHOWN if any(not block.why and block.language != "yaml" for block in blocks(DOCS / name))]
EVERYWHERE = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if page.parent.name != "notebook")


@pytest.fixture
def _unregistered() -> Iterator[None]:
    """Forget afterwards what pages declare: other tests of this process must not find it."""
    registries = (strategies, kinds, formats)
    for registry in registries:
        registry.load()
    before = [dict(registry.entries) for registry in registries]
    yield
    for registry, entries in zip(registries, before, strict=True):
        registry.entries = entries


@pytest.mark.slow
@pytest.mark.usefixtures("_unregistered")
@pytest.mark.parametrize("name", PLAYED)
def test_what_a_page_shows_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    play(DOCS / name)


COMMANDS = sorted(
    {
        (name, *words)
        for name in EVERYWHERE
        for block in blocks(DOCS / name)
        if block.language == "bash"
        for words in block.commands
        if words[0] == "cl-bench"
    }
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_is_understood(
    command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _, *words = command
    depth = 3 if words[1] in ("data", "model", "results", "strategy") else 2
    monkeypatch.setattr(sys, "argv", [*words[:depth], "--help"])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert all(word.partition("=")[0] in shown for word in words if word.startswith("--"))
    if words[1] == "run" and "--strategies" in words and "--plugin" not in words:
        for text in split_list(words[words.index("--strategies") + 1]):
            for strategy in spread(text):
                parse(strategy)


def test_yaml_that_is_shown_can_be_read() -> None:
    for name in SHOWN:
        for block in blocks(DOCS / name):
            if block.language == "yaml":
                yaml.safe_load(block.text)
