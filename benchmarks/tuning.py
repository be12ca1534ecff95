"""Chooses defaults from the scores of `tuning`. The rule was fixed before any run.

python benchmarks/tuning.py results/tuning-dev --markdown results/tuning-dev/choice.md

The rule: the default of before (the published value, where one is known for this
unit) stays, unless another value has a mean drop that is smaller by two percentage points or more with every seed;
of several such values the one with the smallest mean over seeds is taken.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from cl_bench.config.presets import load_experiment
from cl_bench.config.sweeps import spread
from cl_bench.plugins.composition import parse
from cl_bench.results.comparison import finals
from cl_bench.results.rows import read_results

CLEARLY = 0.02


def mean_drops(folder: Path) -> pd.DataFrame:
    """Return the mean drop over tasks: a row a strategy, a column a seed; a run that is not whole has none."""
    results = read_results(folder)
    drops = finals(results).pivot_table(index="strategy", columns=["seed", "task"], values="drop")
    whole = drops.T.groupby(level="seed").agg(lambda tasks: tasks.mean(skipna=False))
    return whole.T


def chosen(drops: pd.DataFrame, default: str) -> str:
    """Return which row of one strategy's `drops` the rule takes; `default`: the row of the default of before."""
    better = drops[(drops <= drops.loc[default] - CLEARLY).all(axis=1)]
    return default if better.empty else str(better.mean(axis=1).idxmin())


def report(folder: Path, grid: list[str]) -> list[str]:
    """Return the lines of a table in Markdown, a row a value; `grid`: strategies as `tuning.yaml` has them."""
    drops = mean_drops(folder)
    seeds = list(drops.columns)
    lines = [f"| strategy | {' | '.join(f'mean drop %, seed {seed}' for seed in seeds)} | mean | |"]
    lines += ["|---|" + "--:|" * (len(seeds) + 1) + "---|"]
    for entry in grid:
        names = [parse(one).text for one in spread(entry)]
        known = drops.loc[[name for name in names if name in drops.index]].dropna()
        built_in = parse(entry.partition("[")[0]).terms
        default = next((name for name in known.index if parse(name).terms == built_in), "")
        taken = chosen(known, default) if len(known) == len(names) > 1 and default in known.index else ""
        for name, own in known.iterrows():
            notes = ["default"] * (name == default) + ["chosen"] * (name == taken)
            cells = [f"{100 * value:.1f}" for value in [*own, own.mean()]]
            lines.append(f"| `{name}` | {' | '.join(cells)} | {', '.join(notes)} |")
    return lines


def main() -> None:
    """Print the table, or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    text = "\n".join(report(given.folder, load_experiment("tuning").strategies)) + "\n"
    given.markdown.write_text(text, encoding="utf-8") if given.markdown else sys.stdout.write(text)


if __name__ == "__main__":
    main()
