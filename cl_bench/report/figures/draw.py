"""Which figures an experiment has, by name."""

from __future__ import annotations

from matplotlib.figure import Figure

from cl_bench.errors import UserError, unknown_name_error
from cl_bench.report.figures.classes import class_changes
from cl_bench.report.figures.curves import forgetting_curves
from cl_bench.report.figures.learning import learning_curves
from cl_bench.report.figures.matrix import matrices
from cl_bench.report.figures.order_sensitivity import order_sensitivity
from cl_bench.report.figures.style import NARROWEST, WIDEST, WIDTH
from cl_bench.report.figures.tradeoffs import tradeoffs
from cl_bench.results.rows import Results

_OF_AN_ORDER = {"curves": forgetting_curves, "matrix": matrices, "tradeoffs": tradeoffs, "classes": class_changes}
FIGURES = (*_OF_AN_ORDER, "orders")


def figure_name(what: str) -> str:
    """Return `what` where it names a figure; UserError where it does not."""
    if what not in FIGURES:
        raise unknown_name_error("figure", what, FIGURES)
    return what


def figures(results: Results, what: str = "curves", width: float = WIDTH) -> dict[str, Figure]:
    """Return stem -> figure; what: "curves", "matrix", "tradeoffs", "classes" or "orders"; width: in inches.

    One figure an order, whose name is in the stem where there are several; of an experiment of baselines alone, their
    learning curves. Raises UserError for another figure, a width that no page has, and where there is nothing to draw.
    """
    figure_name(what)
    if not NARROWEST <= width <= WIDEST:
        raise UserError(f"figures are {NARROWEST:g} to {WIDEST:g} inches wide, not {width:g}")
    if not results.plan.runs and what != "curves":
        raise UserError(f"there is nothing to draw: {what} is about strategies, and there are baselines alone")
    if not results.plan.runs:
        return {"baselines": learning_curves(results, width)}
    if what == "orders":
        return {"orders": order_sensitivity(results, width)}
    drawn = _OF_AN_ORDER[what](results, width)
    if not drawn:
        raise UserError("there is nothing to draw: every task is void, so no drop from its baseline means anything")
    return {what if len(drawn) == 1 else f"{what}-{order.replace('>', '-')}": figure for order, figure in drawn.items()}
