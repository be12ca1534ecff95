"""A strategy, a kind of task and a data format of somebody else's, found by their entry points."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from avalanche.core import SupervisedPlugin

from cl_bench import strategy
from cl_bench.data.base import Example, Split
from cl_bench.errors import UserError
from cl_bench.kinds.classification import Classification
from cl_bench.plugins.registry import formats, kinds
from cl_bench.training.harness import Harness


class HalfRate(SupervisedPlugin):
    """Lets every later stage learn half as fast."""

    acts_from = 2
    stateless = True
    stores_images = False

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        """Halve the rates."""
        if strategy.ancestors:
            strategy.scale_rate(strategy.model.parameters(), 0.5)


@strategy("half_rate", summary="learn half as fast after the first task")
def half_rate() -> list[SupervisedPlugin]:
    """Return the plug-in."""
    return [HalfRate()]


@kinds.register
class Presence(Classification):
    """Whether something is in the image: two classes, of which the second is what is looked for."""

    name = "presence"


@formats.register
class Listed:
    """Reads `path`/SPLIT.csv: a line an image, its file and whether it shows what is looked for (0 or 1)."""

    name = "listed"
    kinds = ("presence",)

    def read(self, options: dict[str, Any], kind: str, split: str, classes: tuple[str, ...] | None) -> Split:
        """Return the split's examples; raise UserError naming the file that is not there."""
        path = Path(options["path"]) / f"{split}.csv"
        if not path.is_file():
            raise UserError(f"data format listed: {path} does not exist")
        lines = sorted(csv.reader(path.read_text().splitlines()))
        examples = tuple(Example(file, path.parent / file, int(found)) for file, found in lines)
        return Split(classes or ("absent", "present"), examples)
