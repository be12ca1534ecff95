"""What tutorials and how-tos show is what happens: their blocks run, in their order, in an empty folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from blocks import blocks, play
from shown_commands import assert_understood

from cl_bench.runner.prepare import prepare

DOCS = Path(__file__).parent.parent.parent / "docs"
SHOWN = sorted(
    page.relative_to(DOCS).as_posix() for folder in ("tutorial", "how-to") for page in (DOCS / folder).glob("*.md")
)
PLAYED = [name for name in SHOWN if any(not block.why and block.language != "yaml" for block in blocks(DOCS / name))]
EVERYWHERE = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if page.parent.name != "notebook")


@pytest.mark.slow
@pytest.mark.usefixtures("declared_here_alone")
@pytest.mark.parametrize("name", PLAYED)
def test_what_a_page_shows_runs(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    shown = (DOCS / name).read_text(encoding="utf-8")
    # Naive's stages of the experiment `check` are trained once, and not by every page that shows it.
    if "cl-bench run check" in shown:
        request.getfixturevalue("with_stages")(prepare("check"))
    if "cl-bench strategy check" in shown:
        bench = request.getfixturevalue("bench")
        monkeypatch.setattr("cl_bench.testing.bench.Bench", lambda _: bench)
    assert play(DOCS / name) > 0


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
def test_a_command_is_understood(command: tuple[str, ...]) -> None:
    assert_understood(command[1:])


def test_yaml_that_is_shown_can_be_read() -> None:
    shown = [block.text for name in SHOWN for block in blocks(DOCS / name) if block.language == "yaml"]
    assert shown
    assert all(isinstance(yaml.safe_load(text), dict | list) for text in shown)
