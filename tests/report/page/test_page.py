"""The report page: what it says, that it is safe and self-contained, and that it works in a browser."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from synthetic import plausible

from cl_bench.report.page.data import gallery
from cl_bench.report.page.headline import _ranking, cards, sentences
from cl_bench.report.page.render import render, save_report
from cl_bench.results.retention import retained
from cl_bench.results.rows import read_results
from cl_bench.results.summary import summary
from cl_bench.runner.prepare import Prepared, prepare

pytestmark = pytest.mark.slow  # a browser is a process


@pytest.fixture(autouse=True)
def _own_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CL_BENCH_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("CL_BENCH_STORE", raising=False)


def said(tmp_path: Path, **options: Any) -> str:
    results = read_results(plausible(tmp_path / "results", **options).write())
    return " ".join(sentences(results, summary(results)))


def test_the_summary_says_who_forgets_least_and_who_passes(tmp_path: Path) -> None:
    text = said(tmp_path)
    least = r"kd\+replay forgets least: its tasks end \d+\.\d % (below|above) their single-task baselines on average"
    assert re.search(least + r" \(naive: \d\d\.\d %\); its worst, (seg|det|cls), drops -?\d+\.\d %\.", text)
    assert "No strategy keeps every task within the limit." in text


def test_a_winner_by_no_clear_margin_is_said_to_be_one(tmp_path: Path) -> None:
    experiment = plausible(tmp_path / "results", strategies=("naive", "kd", "replay"))
    by_seed = {(run["strategy"], run["seed"]): run["stages"] for run in experiment.plan["runs"]}
    for seed, shift in enumerate((0.02, -0.03, 0.015)):
        for own, other in zip(by_seed["replay", seed], by_seed["kd", seed], strict=True):
            if own != other:
                scores = experiment.scores[other].items()
                experiment.scores[own] = {task: [score + shift for score in found] for task, found in scores}
    results = read_results(experiment.write())
    text = sentences(results, summary(results))[0]
    assert re.search(
        r"(kd|replay) forgets least \(by no clear margin over (kd|replay)\): its tasks end \S+ % (below|above)", text
    )


def test_a_strategy_that_failed_in_one_order_is_not_ranked(tmp_path: Path) -> None:
    orders = [("seg", "det", "cls"), ("cls", "det", "seg")]
    experiment = plausible(tmp_path / "results", strategies=("naive", "kd"), orders=orders)
    lost = {
        run["stages"][-1] for run in experiment.plan["runs"] if run["strategy"] == "kd" and run["order"][0] == "cls"
    }
    results = read_results(experiment.write(failed=lost))
    least, unfinished, *_ = sentences(results, summary(results))
    assert least.startswith("naive forgets least")
    assert unfinished == "Not finished, and not ranked: kd."


def test_the_bound_that_learns_all_at_once_is_no_winner(tmp_path: Path) -> None:
    experiment = plausible(tmp_path / "results", strategies=("naive",), joint=True)
    lost = {run["stages"][0] for run in experiment.plan["runs"] if run["strategy"] == "joint"}
    for failed in (set(), lost):
        results = read_results(experiment.write(failed=failed))
        text = " ".join(sentences(results, summary(results)))
        assert "naive forgets least" in text
        assert "Not finished" not in text, "a bound takes no part, finished or not"
    assert "Epochs of joint are stretched over the stream" in render(results, tmp_path)


def test_a_strategy_that_learnt_nothing_of_a_task_is_ranked_all_the_same(tmp_path: Path) -> None:
    experiment = plausible(tmp_path / "results", strategies=("naive", "kd"))
    for run in experiment.plan["runs"]:
        if run["strategy"] == "naive":
            for key in run["stages"][1:]:
                experiment.scores[key]["det"] = [0.0] * experiment.epochs
    results = read_results(experiment.write())
    assert set(_ranking(summary(results)).means) == {"naive", "kd"}


def test_the_cards_are_of_who_forgets_least_and_name_its_worst_task(tmp_path: Path) -> None:
    results = read_results(plausible(tmp_path / "results").write())
    table = summary(results)
    own = table[table["headline"] & (table["strategy"] == "kd+replay")]
    worst = own.loc[own["drop"].idxmax()]
    shown = {card.label: (card.value, card.note) for card in cards(table)}
    assert shown["forgets least"][0] == "kd+replay"
    assert shown["mean drop"][0] == f"{100 * own['average_drop'].iloc[0]:.1f} %"
    assert shown["worst drop"] == (f"{100 * worst['drop']:.1f} %", f"of {worst['task']}")
    assert cards(table.assign(verdict="void")) == []


def test_one_seed_is_no_evidence(tmp_path: Path) -> None:
    assert "One seed is an example, not evidence." in said(tmp_path, seeds=(0,))


def test_what_is_void_is_named(tmp_path: Path) -> None:
    experiment = plausible(tmp_path / "results")
    next(task for task in experiment.plan["tasks"] if task["name"] == "det")["trivial"] = 0.9
    results = read_results(experiment.write())
    assert "Nothing can be said of det" in " ".join(sentences(results, summary(results)))


def embedded(page: str) -> dict[str, Any]:
    return json.loads(re.search(r'<script id="data"[^>]*>(.*?)</script>', page, re.DOTALL)[1])


def test_the_page_names_its_part_once_and_marks_test_scores_beside_the_curves(tmp_path: Path) -> None:
    experiment = plausible(tmp_path / "results", strategies=("naive", "kd"), seeds=(0, 1), epochs=2)
    results = read_results(experiment.add_tests(shift=-0.1).write())
    page, of_val = render(results, tmp_path), render(results.chosen("val"), tmp_path)
    assert page.count("Verdicts are of the test part: seg 600, det 430 and cls 300 images.") == 1
    assert '<h2 id="verdicts-title">Verdicts (test)</h2>' in page
    assert "Lines are of the validation images; hollow diamonds" in page
    assert "Verdicts are of the validation images." in of_val
    assert "hollow diamonds" not in of_val
    (tested,), (plain,) = embedded(page)["curves"], embedded(of_val)["curves"]
    for panel, other in zip(tested["panels"], plain["panels"], strict=True):
        assert panel["test"] == pytest.approx(panel["baseline"] - 0.1)
        assert other["test"] is None
        assert [line["points"] for line in panel["lines"]] == [line["points"] for line in other["lines"]]
        assert [line["test"] for line in other["lines"]] == [[], []]
    naive = tested["panels"][0]["lines"][0]
    assert [step for step, *_ in naive["test"]] == [2, 4, 6]
    assert naive["test"][0][1] == pytest.approx(naive["points"][1][1] - 0.1)
    assert embedded(page)["matrices"] != embedded(of_val)["matrices"]


def test_without_a_test_part_the_page_says_so(tmp_path: Path) -> None:
    results = read_results(plausible(tmp_path / "results", strategies=("naive",), seeds=(0,), epochs=2).write())
    page = render(results, tmp_path)
    assert page.count("Verdicts are of the validation images: nothing here is scored on a test part.") == 1
    assert '<h2 id="verdicts-title">Verdicts</h2>' in page
    assert "hollow diamonds" not in page


def test_the_page_needs_nothing_but_itself(tmp_path: Path) -> None:
    folder = plausible(tmp_path / "results").write()
    page = render(read_results(folder), folder)
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", page)
    assert "default-src 'none'" in page
    assert "are not in the store of this machine" in page, "synthetic stages have no pictures"


def test_the_best_is_bold_and_the_mean_drop_of_a_strategy_is_in_its_rows(tmp_path: Path) -> None:
    results = read_results(plausible(tmp_path / "results").write())
    table, page = summary(results), render(results, tmp_path)
    bold = [float(drop) for drop in re.findall(r"<td[^>]*><strong>(-?[\d.]+) ", page)]
    assert bold == [pytest.approx(100 * drop, abs=0.05) for drop in table.loc[table["leading"], "drop"]] != []
    assert all(f">{100 * mean:.1f}</td>" in page for mean in table["average_drop"].unique())


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    experiment = plausible(tmp_path / "results", strategies=("naive", "kd"))
    for run in experiment.plan["runs"]:
        if run["strategy"] == "kd":
            run["strategy"] = evil
    experiment.plan["provenance"]["command"] = evil
    experiment.plan["settings"]["description"] = evil
    experiment.plan["settings"]["tasks"] = [{"name": "seg", "classes": [evil, "cat"]}]
    folder = experiment.write()
    page = render(read_results(folder), folder)
    assert evil not in page
    assert "cat" in page, "class names are shown, with the settings"
    assert page.count("<script") == 2
    data = embedded(page)
    assert evil in {line["strategy"] for line in data["curves"][0]["panels"][0]["lines"]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    driver, binary = shutil.which("chromedriver"), shutil.which("chromium") or shutil.which("google-chrome")
    if not driver or not binary:
        pytest.skip("needs chromium and chromedriver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--force-prefers-reduced-motion",
    ):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


@pytest.fixture
def page(browser: Any, tiny: Callable[..., str], with_stages: Callable[[Prepared], Prepared], tmp_path: Path) -> Any:
    """The page of a small experiment that was really run, opened."""
    prepared = with_stages(prepare(tiny(strategies=["naive", "kd", "joint"], epochs=1)))
    browser.set_window_size(1200, 900)
    browser.get(save_report(prepared.folder, tmp_path / "report.html").as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    return browser


def test_the_report_of_the_best_recipe_opens(browser: Any, tmp_path: Path) -> None:
    folder = Path(__file__).parents[3] / "results" / "unified_onehead_best"
    browser.get_log("browser")
    browser.get(save_report(folder, tmp_path / "report.html").as_uri())
    assert browser.execute_script("return document.documentElement.dataset.ready") == "true"
    table = summary(read_results(folder))
    assert len(browser.find_elements("css selector", "#table tbody tr")) == int(table["headline"].sum())
    assert len(browser.find_elements("css selector", "#legend input")) == table["strategy"].nunique()
    shares = [share for entry in retained(read_results(folder)) for cells in entry.cells for share in cells]
    shown = browser.find_elements("css selector", "#matrices tbody td")
    wanted = ["" if share is None else str(math.floor(100 * share + 1e-7)) for share in shares]
    assert [cell.text for cell in shown] == wanted
    assert [cell.get_attribute("class") == "kept" for cell in shown] == [bool(one) and int(one) >= 95 for one in wanted]
    assert browser.get_log("browser") == []


def test_the_page_works_in_a_browser(page: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    def texts(selector: str) -> list[str]:
        return [element.text for element in page.find_elements("css selector", selector)]

    def rows() -> list[str]:
        return [row for row in texts("#table tbody tr") if row]

    def drops() -> list[float]:
        cells = page.find_elements("css selector", "#table tbody tr td:nth-child(5)")
        return [float(cell.get_attribute("data-sort") or "nan") for cell in cells]

    assert len(rows()) == 9
    button = page.find_elements("css selector", "#table th button")[4]
    button.click()
    rising = drops()
    known = [drop for drop in rising if not math.isnan(drop)]
    assert rising[: len(known)] == sorted(known), "what has no drop stands last"
    button.click()
    assert drops()[: len(known)] == sorted(known, reverse=True)

    box = page.find_element("id", "filter")
    box.send_keys("kd seg")
    assert [row.split()[:2] for row in rows()] == [["kd", "seg"]]
    assert texts("#shown") == ["1 of 9 rows"]

    assert len(texts(".panel svg")) == 3
    lines = page.find_elements("css selector", ".panel:first-child .line")
    page.find_element("css selector", "#legend input").click()
    assert [line.value_of_css_property("display") for line in lines].count("none") == 1
    page.find_element("css selector", ".panel:last-child svg").send_keys("\ue010")  # End
    assert "epoch 3:" in texts(".panel:last-child .reading")[0]

    def shown() -> list[str]:
        return [image.get_attribute("src") for image in page.find_elements("css selector", "#pictures img")]

    last = shown()
    assert len(last) == 3 * 4, "three images in tests, beside truth and three strategies"
    assert all(
        image.get_property("naturalWidth") == 192 for image in page.find_elements("css selector", "#pictures img")
    )
    page.find_element("id", "gallery-stage").send_keys("\ue011")  # Home
    assert texts("#gallery-label") == ["1 of 3: seg"]
    assert shown() != last

    page.find_element("id", "gallery-play").click()
    WebDriverWait(page, 20).until(lambda _: texts("#gallery-label") == ["3 of 3: cls"])
    assert shown() == last, "it plays to the last stage, once"

    assert texts(".compact tbody [scope=row]") == ["baseline", "naive", "kd", "joint"]
    page.find_element("css selector", "button.copy").click()
    WebDriverWait(page, 20).until(lambda _: texts("#copied") == ["LaTeX copied"])

    assert (
        page.execute_script(
            "return performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length"
        )
        == 0
    )
    assert page.get_log("browser") == []


def test_a_run_that_failed_is_shown_as_far_as_it_came(
    browser: Any, tiny: Callable[..., str], with_stages: Callable[[Prepared], Prepared], tmp_path: Path
) -> None:
    prepared = with_stages(prepare(tiny(strategies=["naive", "kd"], epochs=1)))
    kd = next(run for run in prepared.plan.runs if run.strategy == "kd")
    shutil.rmtree(prepared.store.folder(kd.stages[-1]))
    plan = read_results(prepared.folder).plan
    shown = {one["strategy"]: one["tasks"] for one in gallery(prepared.folder, plan, ["naive", "kd"])["strategies"]}
    assert {task: len(frames) for task, frames in shown["kd"].items()} == {"seg": 2, "det": 1}
    assert {task: len(frames) for task, frames in shown["naive"].items()} == {"seg": 3, "det": 2, "cls": 1}

    browser.get(save_report(prepared.folder, tmp_path / "report.html").as_uri())

    def said() -> set[str]:
        return {cell.text for cell in browser.find_elements("css selector", "#pictures .none")}

    assert said() == {"not in the store"}
    browser.find_element("css selector", "#gallery-task option:last-child").click()
    browser.find_element("id", "gallery-stage").send_keys("\ue011")  # Home
    assert said() == {"not learnt yet"}


@contextmanager
def small(page: Any) -> Iterator[None]:
    """Give the browser the screen of a telephone."""
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 700, "deviceScaleFactor": 1, "mobile": True}
    )
    try:
        yield
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def assert_the_verdict_is_in_sight(page: Any) -> None:
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    edge = page.find_element("css selector", "#verdicts .wide").rect
    shown = [header for header in page.find_elements("css selector", "#table th") if header.is_displayed()]
    assert [header.text.split()[0] for header in shown] == ["strategy", "task", "drop", "verdict"]
    assert shown[-1].rect["x"] + shown[-1].rect["width"] <= edge["x"] + edge["width"] + 1


def test_a_small_screen_scrolls_down_only(page: Any) -> None:
    with small(page):
        assert_the_verdict_is_in_sight(page)
        page.find_element("id", "details").click()
        assert all(header.is_displayed() for header in page.find_elements("css selector", "#table th"))


def test_a_small_screen_breaks_long_names(
    browser: Any, tiny: Callable[..., str], with_stages: Callable[[Prepared], Prepared], tmp_path: Path
) -> None:
    prepared = with_stages(prepare(tiny(strategies=["kd[direction=student_teacher,weight=0.5]"], epochs=1)))
    browser.get(save_report(prepared.folder, tmp_path / "report.html").as_uri())
    with small(browser):
        assert_the_verdict_is_in_sight(browser)
    name = browser.find_element("css selector", "#table td.name").get_property("innerHTML")
    assert name == "kd<wbr>[direction=<wbr>student_<wbr>teacher,<wbr>weight=<wbr>0.5]"


def test_every_picture_and_control_has_a_name(page: Any) -> None:
    assert (
        page.execute_script(
            "return [...document.querySelectorAll('img')].filter(image => !image.alt).length"
            " + [...document.querySelectorAll('input, select')].filter(control => !control.labels.length).length"
        )
        == 0
    )
