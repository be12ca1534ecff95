"""The picture that links to the report show: its size, that it is linked, and that it is drawn whatever the results."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import message
from PIL import Image
from synthetic import plausible

from cl_bench.cli import read
from cl_bench.report.page.card import SIZE, draw
from cl_bench.report.page.data import curves
from cl_bench.report.page.headline import Card, cards
from cl_bench.report.page.render import save_report
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "results"))
    return plausible(tmp_path / "results").write()


def tags(page: Path) -> dict[str, str]:
    return dict(re.findall(r'<meta (?:property|name)="(\S+)" content="(.*?)">', page.read_text()))


def test_the_page_links_the_picture_beside_it(folder: Path, tmp_path: Path) -> None:
    page = save_report(folder, tmp_path / "out" / "mine.html", card=True)
    with Image.open(tmp_path / "out" / "mine.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1200, 630))
        assert len(np.unique(np.asarray(picture.convert("L")))) > 50
    found = tags(page)
    assert found["og:image"] == found["twitter:image"] == "mine.png"
    assert (found["og:image:width"], found["og:image:height"]) == ("1200", "630")
    assert found["twitter:card"] == "summary_large_image"
    assert found["og:image:alt"].startswith("kd+replay forgets least: ")
    with_url = save_report(folder, page, card=True, url="https://example.org/a/mine.html")
    assert tags(with_url)["og:image"] == "https://example.org/a/mine.png"


def test_without_it_there_is_neither_picture_nor_link(folder: Path, tmp_path: Path) -> None:
    page = save_report(folder, tmp_path / "mine.html")
    assert not (tmp_path / "mine.png").exists()
    assert not {"og:image", "twitter:card"} & tags(page).keys()


def test_what_cannot_be_is_told(folder: Path, tmp_path: Path) -> None:
    png = tmp_path / "mine.png"
    expected = f"{png} is the name of the page's picture: a page's ends with .html"
    assert message(save_report, folder, png, card=True) == expected
    assert not png.exists()
    assert "without the card there is none" in message(save_report, folder, url="https://example.org/")


def test_the_command_names_both_files(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read.report("quickstart", card=True)
    assert capsys.readouterr().out.split() == [str(folder / "report.html"), str(folder / "report.png")]


def pixels(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.size == SIZE
        return np.asarray(picture.convert("L"))


@pytest.mark.parametrize("name", ["x", "a$b$_" + "very_long_name_" * 8])
def test_any_name_stays_in_the_picture(folder: Path, name: str) -> None:
    results = read_results(folder)
    best, *others = cards(summary(results))
    drawn = pixels(draw(name, [Card(best.label, name, best.note), *others], curves(results)))
    assert drawn[:, -8:].min() == 255, "nothing runs over the edge"


def test_it_is_drawn_where_no_strategy_is_ranked(folder: Path) -> None:
    assert pixels(draw("x", [], curves(read_results(folder)))).min() < 100


def test_baselines_alone_have_neither_page_nor_picture(tmp_path: Path) -> None:
    committed = Path(__file__).parents[3] / "results" / "baselines_ablation_det-dev"
    assert "has baselines alone" in message(lambda: save_report(committed, tmp_path / "page.html", card=True))
    assert list(tmp_path.iterdir()) == []
