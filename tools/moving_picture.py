"""The README's moving picture: what strategies still answer after every stage, beside the truth.

python -m tools.moving_picture results/quickstart -o docs/images/gallery.gif --image seg=1 --image det=4
"""

from __future__ import annotations

import argparse
import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.font_manager import FontProperties, findfont
from PIL import Image, ImageDraw, ImageFont

from cl_bench.errors import UserError, unknown_name_error
from cl_bench.report.page.data import gallery
from cl_bench.results.rows import Results, read_results
from cl_bench.results.store.pictures import SIDE

Box = tuple[int, int]
WIDTH, TOP, GAP, LINE = 830, 80, 12, 24
"""Pixels: a README's column, the strip above the pictures, between two of them, a line of text."""
SECONDS, LAST = 1.3, 3.0
"""How long a frame is shown, and the last one."""
INK, FAINT, ACCENT, PAPER, EMPTY = "#1f2328", "#6e7781", "#0072B2", "#ffffff", "#eaeef2"


class Column(NamedTuple):
    """One validation image of a task: its truth and, by strategy, its answer and score after each stage."""

    title: str
    truth: Image.Image
    answers: Mapping[str, Sequence[Image.Image | None]]
    scores: Mapping[str, Sequence[str]]


def columns(results: Results, strategies: Sequence[str], images: Mapping[str, int]) -> list[Column]:
    """Return what is shown; images: by task, the place of one in the gallery; UserError for what is not there."""
    plan = results.plan
    found = gallery(results.folder, plan, strategies)
    shown = {one["strategy"]: one["tasks"] for one in found.get("strategies", ())}
    for name in strategies:
        if name not in shown:
            raise unknown_name_error("strategy with pictures in the store", name, shown)
    made = []
    for task, place in images.items():
        if not 0 <= place < len(found["truths"].get(task, ())):
            raise UserError(f"{task}={place} is no image of the gallery")
        answers, scores = {}, {}
        for name in strategies:
            frames = {frame["position"]: frame["pictures"][place] for frame in shown[name].get(task, ())}
            stages = range(len(found["order"]))
            answers[name] = [_picture(found, frames[stage]) if stage in frames else None for stage in stages]
            scores[name] = _scores(results, name, task)
        made.append(Column(plan.by_name[task].kind, _picture(found, found["truths"][task][place]), answers, scores))
    return made


def _picture(found: Mapping[str, Any], place: int) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(found["pictures"][place].partition(",")[2]))).convert("RGB")


def _scores(results: Results, strategy: str, task: str) -> list[str]:
    """Return a task's score after each stage of the strategy's first run, on the part that the verdict is of."""
    plan, rows = results.plan, results.curves if results.beside_curves.empty else results.beside_curves
    run = next(run for run in plan.runs if run.strategy == strategy)
    own = rows[
        rows["last"] & (rows["strategy"] == strategy) & (rows["order"] == run.stream) & (rows["seed"] == run.seed)
    ]
    own = own[(own["task"] == task) & (own["metric"] == plan.headline[task])]
    found = own.set_index("position")["value"].to_dict()
    texts = {n: f"{plan.headline[task]} {value:.2f}".replace("0.", ".") for n, value in found.items()}
    return [texts.get(n, "") for n in range(len(run.stages))]


def frames(order: Sequence[str], shown: Sequence[Column]) -> list[Image.Image]:
    """Return a frame a stage; order: what the stages learn, in words."""
    return [_frame(order, stage, shown) for stage in range(len(order))]


def _frame(order: Sequence[str], stage: int, shown: Sequence[Column]) -> Image.Image:
    strategies = list(shown[0].answers)
    column_width = (WIDTH + GAP) // len(shown)
    side = min(SIDE, (column_width - 2 * GAP) // 2)
    row_height = LINE + side + GAP
    frame = Image.new("RGB", (WIDTH, TOP + LINE + len(strategies) * row_height), PAPER)
    pen = ImageDraw.Draw(frame)
    _stages(pen, order, stage)
    middle = TOP + LINE + (len(strategies) - 1) * row_height // 2
    for place, column in enumerate(shown):
        left = place * (WIDTH - 2 * side - GAP) // max(len(shown) - 1, 1)
        pen.text((left, TOP), column.title, INK, _font(15, bold=True))
        pen.text((left, middle), "truth", FAINT, _font(14))
        frame.paste(column.truth.resize((side, side)), (left, middle + LINE))
        for row, name in enumerate(strategies):
            corner = (left + side + GAP, TOP + LINE + row * row_height)
            pen.text(corner, name, INK, _font(14, bold=True))
            _answer(frame, corner, side, column.answers[name][stage], column.scores[name][stage])
    return frame


def _stages(pen: ImageDraw.ImageDraw, order: Sequence[str], stage: int) -> None:
    """Draw the stream as a bar of stages, of which the past and the present one are filled."""
    pen.text((0, 4), f"After stage {stage + 1} of {len(order)}", INK, _font(20, bold=True))
    width = (WIDTH - GAP * (len(order) - 1)) // len(order)
    for place, task in enumerate(order):
        left, learnt = place * (width + GAP), place <= stage
        pen.rectangle((left, 36, left + width, 42), ACCENT if learnt else EMPTY)
        pen.text((left, 46), f"{place + 1} {task}", INK if learnt else FAINT, _font(14, bold=place == stage))


def _answer(frame: Image.Image, corner: Box, side: int, answer: Image.Image | None, score: str) -> None:
    pen = ImageDraw.Draw(frame)
    left, top = corner[0], corner[1] + LINE
    if answer is None:
        pen.rectangle((left, top, left + side - 1, top + side - 1), EMPTY)
        pen.text((left + side // 2, top + side // 2), "not learnt yet", FAINT, _font(14), "mm")
        return
    frame.paste(answer.resize((side, side)), (left, top))
    pen.text((left + side, corner[1]), score, INK, _font(14), "ra")


def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    # matplotlib brings it, so that it is the same on every machine.
    properties = FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal")
    return ImageFont.truetype(findfont(properties), size)


def save(pictures: Sequence[Image.Image], path: Path) -> Path:
    """Write an endless GIF of frames, all in one palette, so that what stays does not flicker."""
    together = Image.new("RGB", (pictures[0].width, sum(one.height for one in pictures)), PAPER)
    for place, one in enumerate(pictures):
        together.paste(one, (0, place * one.height))
    palette = together.quantize(256, dither=Image.Dither.NONE)
    first, *others = [_on_white(one.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)) for one in pictures]
    times = [int(1000 * SECONDS)] * len(others) + [int(1000 * LAST)]
    path.parent.mkdir(parents=True, exist_ok=True)
    first.save(path, save_all=True, append_images=others, duration=times, loop=0, optimize=True)
    return path


def _on_white(frame: Image.Image) -> Image.Image:
    """Return it with white for the paper, as its upper right corner has it: a palette's white is a shade off."""
    colours, paper = frame.getpalette() or [], frame.getpixel((frame.width - 1, 0))
    assert isinstance(paper, int)
    colours[3 * paper : 3 * paper + 3] = [255, 255, 255]
    frame.putpalette(colours)
    return frame


def main() -> None:
    """Draw the picture that is asked for on the command line."""
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("folder", type=Path)
    ask.add_argument("-o", "--output", type=Path, default=Path("docs/images/gallery.gif"))
    ask.add_argument("--strategies", default="naive,kd+replay")
    ask.add_argument("--image", action="append", required=True, metavar="TASK=PLACE")
    options = ask.parse_args()
    results = read_results(options.folder)
    images = {task: int(place) for task, _, place in (one.partition("=") for one in options.image)}
    shown = columns(results, options.strategies.split(","), images)
    order = [results.plan.by_name[task].kind for task in results.plan.runs[0].order]
    print(save(frames(order, shown), options.output))


if __name__ == "__main__":
    main()
