"""Pages keep to their form: whom they are for, no commit in prose, figures as the committed results have them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md"))
COLUMNS = ["drop", "drop_low", "drop_high", "average_drop"]
COMMIT = re.compile(r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,40}\b")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_with_who_it_is_for(name: str) -> None:
    text = re.sub(r"<!--.*?-->\n*", "", (DOCS / name).read_text(encoding="utf-8"))
    title, _, rest = text.partition("\n\n")
    assert title.startswith("# ")
    assert rest.startswith("For "), "the first sentence says whom the page is for"


@pytest.mark.parametrize("name", [name for name in PAGES if not name.startswith("notebook/")])
def test_no_commit_stands_in_prose_outside_the_notebook(name: str) -> None:
    text = re.sub(r"https?://\S+", "", (DOCS / name).read_text(encoding="utf-8"))
    assert COMMIT.findall(text) == []


def test_what_a_commit_looks_like() -> None:
    assert COMMIT.findall("at b05f185, of 1234567 images, effaced") == ["b05f185"]


def test_every_page_is_in_the_navigation_once() -> None:
    def leaves(entry: object) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        inner = entry.values() if isinstance(entry, dict) else entry
        return [leaf for one in inner for leaf in leaves(one)]  # type: ignore[attr-defined]

    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(leaves(navigation)) == PAGES


def test_the_row_that_is_worked_through_is_that_of_the_committed_results() -> None:
    from cl_bench.results.rows import read_results
    from cl_bench.results.summary import summary

    page = (DOCS / "explanation" / "verdicts.md").read_text(encoding="utf-8")
    shown = re.findall(
        r"^\| (seg|det|cls) \| (.*?) \| (.*?) \| (.*?) \[(.*?), (.*?)\] \| (.*?) \|$", page, re.MULTILINE
    )
    table = summary(read_results(ROOT / "results" / "zoo")).set_index(["strategy", "task"])
    assert len(shown) == 3
    for task, baseline, final, drop, low, high, verdict in shown:
        row = table.loc[("kd+replay", task)]
        assert [baseline, final] == [f"{row['baseline']:.3f}", f"{row['final']:.3f}"]
        assert [drop, low, high] == [f"{100 * row[name]:.1f}" for name in ("drop", "drop_low", "drop_high")]
        assert verdict == row["verdict"]


def test_the_long_streams_drops_are_those_of_the_committed_results() -> None:
    from cl_bench.results.rows import read_results
    from cl_bench.results.summary import summary

    page = (DOCS / "results" / "long-stream.md").read_text(encoding="utf-8")
    table = summary(read_results(ROOT / "results" / "long_stream")).set_index(["strategy", "task"])
    kd = "kd[weight=1.0,direction=student_teacher]"
    for name in ("naive", kd, f"{kd}+replay"):
        tasks = [table.loc[(name, task)] for task in ("seg", "det", "cls", "kpt", "noisy")]
        drops = [
            f"{100 * one['drop']:.1f} [{100 * one['drop_low']:.1f}, {100 * one['drop_high']:.1f}]" for one in tasks
        ]
        assert f"| {name} | {' | '.join(drops)} | {100 * tasks[0]['average_drop']:.1f} |" in page
