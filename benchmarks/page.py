"""Size of a report, and seconds until a browser can use it, for about 10 and 500 runs (headless Chromium, selenium).

python benchmarks/page.py
"""

from __future__ import annotations

import os
import statistics
import tempfile
from pathlib import Path

from scale import experiment
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

ROUNDS = 5
SEEDS = {12: 4, 504: 168}
"""Runs of three strategies on one order -> seeds."""


def main() -> None:
    """Print a row for each number of runs; medians of interleaved rounds."""
    from cl_bench.report.page.render import save_report

    pages, seconds = {}, {runs: list[float]() for runs in SEEDS}
    with tempfile.TemporaryDirectory() as root:
        for runs, seeds in SEEDS.items():
            os.environ["CL_BENCH_RESULTS"] = f"{root}/{runs}"
            Path(root, str(runs)).mkdir()
            prepared = experiment(Path(root) / f"runs-{runs}.yaml", seeds, "seg-det-cls")
            pages[runs] = save_report(prepared.folder)
        options = webdriver.ChromeOptions()
        for option in ("--headless=new", "--no-sandbox", "--disable-gpu"):
            options.add_argument(option)
        with webdriver.Chrome(options, Service("/usr/bin/chromedriver")) as browser:
            for _ in range(ROUNDS):
                for runs, page in pages.items():
                    browser.get(page.as_uri())
                    timing = "const t = performance.getEntriesByType('navigation')[0]; return t.loadEventStart;"
                    seconds[runs].append(browser.execute_script(timing) / 1000)
        print("| runs | page MB | seconds until it can be used, median |\n|--:|--:|--:|")
        for runs, page in pages.items():
            print(f"| {runs} | {page.stat().st_size / 1e6:.2f} | {statistics.median(seconds[runs]):.2f} |")


if __name__ == "__main__":
    main()
