"""Validation images with truth and prediction side by side, as the stages keep them; no torch."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from cl_bench.errors import UserError, unknown_name_error
from cl_bench.results.plan_file import Plan, read_plan
from cl_bench.results.store.pictures import FILE, SIDE, Picture, load
from cl_bench.results.store.store import find_stage, intact
from cl_bench.utils.files import make_writable
from cl_bench.utils.parsing import spelled
from cl_bench.utils.paths import store_root

CAPTION, PAIRS = 14, 3
"""Pixels of a caption's height; pairs of pictures a row."""


def save_galleries(folder: Path, output: Path, strategy: str = "", seed: int | None = None) -> list[Path]:
    """Write one JPEG a task into `output` and return the paths.

    folder: an experiment's results, whose stages must still be in the store; strategy: the run (of the first order)
    whose last stage is shown, each task's baseline where empty; seed: the first where None. Raises UserError.
    """
    paths = []
    for task, key in _stages(read_plan(folder), strategy, seed).items():
        stage = find_stage(folder, key)
        if stage is None:
            raise UserError(
                f"stage {key[:12]} is not in the store {store_root().absolute()}: run the experiment again to draw it"
            )
        if not intact(stage):
            raise UserError(f"{stage} is damaged; run the experiment again, and it is trained anew")
        shown = load(stage / FILE, task)
        if not shown:
            raise UserError(f"{stage} is of a version that kept no pictures: move it away and run the experiment again")
        path = make_writable(output) / f"gallery-{strategy or 'baseline'}-{task}.jpg"
        _sheet(shown).save(path, quality=80)
        paths.append(path)
    return paths


def _stages(plan: Plan, strategy: str, seed: int | None) -> dict[str, str]:
    """Return task -> key of the stage whose predictions are shown."""
    known = {run.strategy for run in plan.runs}
    runs = [run for run in plan.runs if run.strategy == spelled(strategy, known)]
    if strategy and not runs:
        raise unknown_name_error("strategy of this experiment", strategy, known)
    seeds = [line.seed for line in (runs if strategy else plan.baselines)]
    wanted = seeds[0] if seed is None and seeds else seed
    if wanted not in seeds:
        raise unknown_name_error("seed", str(wanted), map(str, dict.fromkeys(seeds)))
    if not strategy:
        return {line.task: line.stage for line in plan.baselines if line.seed == wanted}
    run = next(run for run in runs if run.seed == wanted)
    return dict.fromkeys(run.order, run.stages[-1])


def _sheet(shown: Sequence[Picture]) -> Image.Image:
    width, height = 2 * SIDE + 8, SIDE + CAPTION
    sheet = Image.new("RGB", (PAIRS * width, -(-len(shown) // PAIRS) * height), "white")
    pen = ImageDraw.Draw(sheet)
    for cell, picture in enumerate(shown):
        left, top = cell % PAIRS * width, cell // PAIRS * height
        for column, content in enumerate((picture.truth, picture.prediction)):
            sheet.paste(Image.open(io.BytesIO(content)), (left + column * SIDE, top))
        pen.text((left + 2, top + SIDE + 1), f"{picture.name}: truth | prediction"[-58:], fill="black")
    return sheet
