"""What the pages for contributors say of the code is so."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md"))),
]
ARCHITECTURE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_it_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:cl_bench|strategies|experiments|tests)/[^` ]*)`", text))
    assert [name for name in sorted(named) if "NAME" not in name and not (ROOT / name).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    here = ROOT / page
    for link in re.findall(r"\]\((?!https?:)([^)]+)\)", here.read_text(encoding="utf-8")):
        file, _, anchor = link.partition("#")
        target = (here.parent / file).resolve() if file else here
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_a_package_says_of_itself_what_the_page_says_of_it() -> None:
    packages = {path.parent.name: path for path in (ROOT / "cl_bench").glob("*/__init__.py")}
    packages["strategies"] = ROOT / "strategies" / "__init__.py"
    docs = {name: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for name, path in packages.items()}
    table = ARCHITECTURE.partition("## Packages")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE)) == docs


def test_the_picture_has_the_floors_that_lint_holds() -> None:
    contract = (ROOT / "importlinter.toml").read_text(encoding="utf-8").partition("layers = [")[2].partition("]")[0]
    floors = [set(floor.split(" | ")) for floor in re.findall(r'"(.+)"', contract)]
    drawn = [set(body.split()) for body in re.findall(r'subgraph \w+ \[" "\]\n(.*?)\n  end', ARCHITECTURE, re.DOTALL)]
    assert drawn == [floor for floor in floors if floor != {"__main__"}]
