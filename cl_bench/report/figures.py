"""Which figures an experiment has, by name."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from cl_bench.report.classes import class_changes
from cl_bench.report.curves import forgetting_curves
from cl_bench.report.learning import learning_curves
from cl_bench.report.matrix import matrices
from cl_bench.report.orders import order_sensitivity
from cl_bench.report.tradeoffs import tradeoffs
from cl_bench.summaries import summary


def figures(results: pd.DataFrame, what: str = "curves") -> dict[str, Figure]:
    """Return stem -> figure; what: "curves", "matrix", "tradeoffs", "classes" or "orders".

    One figure an order, whose name is in the stem where there are several; of an experiment of baselines alone, their
    learning curves.
    """
    if not results.attrs["plan"]["runs"]:
        return {"baselines": learning_curves(results)}
    if what == "orders":
        return {"orders": order_sensitivity(summary(results))}
    if what == "tradeoffs":
        drawn = tradeoffs(summary(results))
    else:
        drawn = {"curves": forgetting_curves, "matrix": matrices, "classes": class_changes}[what](results)
    return {what if len(drawn) == 1 else f"{what}-{order.replace('>', '-')}": figure for order, figure in drawn.items()}
