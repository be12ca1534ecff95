"""Tells baselines of one experiment over its dev folds: a row a task, beside the first one.

python benchmarks/folds.py results/ablation_detection-dev results/ablation_detection-dev1 ... --metric AP50
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from cl_bench.metrics.statistics import t_interval
from cl_bench.results.rows import BASELINE, read_results


def scores(folders: list[Path], metric: str) -> pd.DataFrame:
    """Return the last score of every task alone, a row a task, a column a fold: the mean over its seeds."""
    columns = {}
    for folder in folders:
        rows = read_results(folder).rows
        ends = rows[(rows["strategy"] == BASELINE) & rows["last"] & (rows["metric"] == metric)]
        columns[folder.name.rpartition("-")[2]] = ends.groupby("task", sort=False)["value"].mean()
    return pd.DataFrame(columns)


def report(found: pd.DataFrame, metric: str) -> list[str]:
    """Return the lines of a table in Markdown; differences are paired by fold, with a 95 % t interval over folds."""
    folds = list(found.columns)
    lines = [
        f"| {metric} | {' | '.join(folds)} | mean | beside {found.index[0]} |",
        "|---" + "|--:" * (len(folds) + 2) + "|",
    ]
    for task, own in found.iterrows():
        beside = (own - found.iloc[0]).dropna()
        within = t_interval(beside.tolist()) if task != found.index[0] else None
        told = f"{beside.mean():+.3f} [{within[0]:+.3f}, {within[1]:+.3f}]" if within else ""
        cells = ["" if pd.isna(value) else f"{value:.3f}" for value in [*own, own.mean()]]
        lines.append(f"| {task} | {' | '.join(cells)} | {told} |")
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--metric", default="AP50")
    given = parser.parse_args()
    sys.stdout.write("\n".join(report(scores(given.folders, given.metric), given.metric)) + "\n")


if __name__ == "__main__":
    main()
