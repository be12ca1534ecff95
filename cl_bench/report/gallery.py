"""Validation images with truth and prediction side by side, from what the stages keep of their last evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw
from safetensors.numpy import load_file

from cl_bench.catalog import Entry, load_catalog
from cl_bench.config import validate
from cl_bench.data.images import open_image
from cl_bench.errors import UserError, unknown
from cl_bench.kinds.base import gallery_indices
from cl_bench.paths import make_writable, store_root
from cl_bench.stages.store import read_json

SIDE, CAPTION, PAIRS = 192, 14, 3
"""Pixels: the side of a picture and the height of its caption; pairs of pictures a row."""


def save_galleries(folder: Path, output: Path, strategy: str = "", seed: int | None = None) -> list[Path]:
    """Write one JPEG a task into `output` and return the paths.

    folder: an experiment's results, whose stages must still be in the store; strategy: the run (of the first order)
    whose last stage is shown, each task's baseline where empty; seed: the first where None. Raises UserError.
    """
    plan = read_json(folder / "plan.json")
    entries = load_catalog(validate(plan["settings"], str(folder / "plan.json")))
    paths = []
    for name, key in _stages(plan, strategy, seed).items():
        entry = next(entry for entry in entries if entry.task.name == name)
        _check_same_data(entry, key)
        sheet = _sheet(entry, _predictions(key, name))
        path = make_writable(output) / f"gallery-{strategy or 'baseline'}-{name}.jpg"
        sheet.save(path, quality=80)
        paths.append(path)
    return paths


def _stages(plan: Mapping[str, Any], strategy: str, seed: int | None) -> dict[str, str]:
    """Return task -> key of the stage whose predictions are shown."""
    lines = plan["runs"] if strategy else plan["baselines"]
    if strategy and strategy not in {run["strategy"] for run in lines}:
        raise unknown("strategy of this experiment", strategy, {run["strategy"] for run in lines})
    seeds = [line["seed"] for line in lines]
    wanted = seeds[0] if seed is None and seeds else seed
    if wanted not in seeds:
        raise unknown("seed", str(wanted), map(str, dict.fromkeys(seeds)))
    if not strategy:
        return {line["task"]: line["stage"] for line in lines if line["seed"] == wanted}
    run = next(run for run in lines if (run["strategy"], run["seed"]) == (strategy, wanted))
    return dict.fromkeys(run["order"], run["stages"][-1])


def _predictions(key: str, task: str) -> dict[str, Any]:
    found, prefix = load_file(store_root() / key / "predictions.safetensors"), f"{task}/"
    return {name.removeprefix(prefix): array for name, array in found.items() if name.startswith(prefix)}


def _check_same_data(entry: Entry, key: str | None) -> None:
    """Raise UserError where the stage's predictions are not of the images there are now."""
    while key is not None:
        path = store_root() / key / "stage.json"
        if not path.is_file():
            raise UserError(f"stage {key[:12]} is not in the store {store_root()}: run the experiment again to draw it")
        stage = read_json(path)
        for trained in stage["settings"]["train"]:
            if trained["task"] == entry.task.name and trained["validation_data"] != entry.audit.val_fingerprint:
                raise UserError(f"the data of task {entry.task.name} changed since it was scored: run it again")
        key = stage["parent"]


def _sheet(entry: Entry, arrays: Mapping[str, Any]) -> Image.Image:
    task, examples = entry.task, entry.audit.val.examples
    shown = gallery_indices(len(examples))
    width, height = 2 * SIDE + 8, SIDE + CAPTION
    sheet = Image.new("RGB", (PAIRS * width, -(-len(shown) // PAIRS) * height), "white")
    pen = ImageDraw.Draw(sheet)
    for cell, index in enumerate(shown):
        left, top = cell % PAIRS * width, cell // PAIRS * height
        image = open_image(examples[index].image)
        for column, target in enumerate((examples[index].target, task.kind.predicted(arrays, index))):
            picture = task.kind.draw(image, target, task.classes).resize((SIDE, SIDE))
            sheet.paste(picture, (left + column * SIDE, top))
        pen.text((left + 2, top + SIDE + 1), f"{examples[index].name}: truth | prediction"[-58:], fill="black")
    return sheet
