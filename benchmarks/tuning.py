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
BEFORE = {
    "kd": "kd[weight=1.0]",
    "ema_teacher": "ema_teacher[weight=1.0]",
    "pod": "pod[weight=3.0]",
    "er": "er[weight=1.0]",
    "der": "der[alpha=0.5]",
    "fdr": "fdr[alpha=0.5]",
    "l2_sp": "l2_sp[weight=0.1]",
    "ewc": "ewc[weight=0.1]",
    "mas": "mas[weight=0.1]",
    "wise_ft": "wise_ft[alpha=0.5]",
    "rewind": "rewind[share=0.5]",
    "layer_rates": "layer_rates[backbone=0.1,neck=0.1,shared=0.1,new=1.0]",
}
"""The defaults of before that were changed by this; the others are today's."""


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


def choices(drops: pd.DataFrame, grid: list[str]) -> dict[str, tuple[str, str]]:
    """Return the row of the default of before and the one taken, for each strategy of the grid whose runs are whole."""
    taken = {}
    for entry in grid:
        strategy = entry.partition("[")[0]
        names = values_of(entry)
        known = drops.reindex(names).dropna()
        same = [name for name in names if parse(name).terms == parse(strategy).terms]
        before = BEFORE.get(strategy, next(iter(same), ""))
        if len(known) == len(names) > 1 and before in known.index:
            taken[strategy] = (before, chosen(known, before))
    return taken


def values_of(entry: str) -> list[str]:
    """Return the rows of one entry of the grid."""
    return [parse(one).text for one in spread(entry)]


def report(folder: Path, grid: list[str]) -> list[str]:
    """Return the lines of a table in Markdown, a row a value; `grid`: strategies as `tuning.yaml` has them."""
    drops = mean_drops(folder)
    taken = choices(drops, grid)
    lines = [f"| strategy | {' | '.join(f'mean drop %, seed {seed}' for seed in drops.columns)} | mean | |"]
    lines += ["|---|" + "--:|" * (len(drops.columns) + 1) + "---|"]
    for entry in grid:
        before, choice = taken.get(entry.partition("[")[0], ("", ""))
        for name in values_of(entry):
            if name not in drops.index or drops.loc[name].isna().any():
                continue
            own = drops.loc[name]
            notes = ["before"] * (name == before) + ["chosen"] * (name == choice)
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
