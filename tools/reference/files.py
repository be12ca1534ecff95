"""Files of a folder of results, and their columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import BaseModel

from cl_bench.report.tables.everything import everything
from cl_bench.results import export, per_class, plan_file, resamples
from cl_bench.results.rows import COLUMNS, read_results
from cl_bench.results.stages import ENVIRONMENT, NUMBERS
from cl_bench.results.summary import summary
from tools.reference.text import code, docs_of, table
from tools.reference.text import page as whole_page

QUICKSTART = Path(__file__).resolve().parent.parent.parent / "results" / "quickstart"
FOLDER = [
    ("plan.json", "what was asked for: settings, tasks, runs, stages, provenance; written before anything is trained"),
    ("rows.csv", "every score of every stage"),
    ("stages.csv", "what every stage cost, and where it ran"),
    (per_class.FILE, "the headline metric of each class at the ends of stages"),
    (resamples.FILE, "the headline scores in resamples of the images: what intervals are made of"),
    ("table.md, table.csv", "the table, as `run` printed it, and all of its numbers"),
    ("curves.png, .svg, .pdf", "what `plot` drew"),
    ("report.html, report.png", "what `report` and `report --card` wrote"),
    ("provenance.md", "beside committed results: commands, commit, machine, by hand"),
]
STORED = [
    ("stage.json", "what the stage is, what it cost, where it ran, checksums of its files"),
    ("model.safetensors", "weights"),
    ("state.safetensors", "what plug-ins carry on to the next stage"),
    ("evaluations.csv", "its scores"),
    ("training.csv", "loss, rate and gradient by epoch"),
    (per_class.FILE, "its headline metric by class"),
    ("pictures.safetensors, predictions.safetensors", "images of the gallery, and what it says of them"),
    ("resamples.safetensors", "its scores in resamples of the images"),
]
PLAN = {
    "experiment": "Its name.",
    "settings": "The resolved experiment ([keys](experiment.md)).",
    "provenance": "Command, commit, machine, version.",
    "tasks": "As they were read (below).",
    "runs": "Strategy, order, seed and stages of each (below).",
    "baselines": "Task, seed and stage of each.",
    "stages": "By key: tasks, epochs, parent.",
    "name": "The task.",
    "kind": "Its kind.",
    "metrics": "The headline one first.",
    "predictor": "Which of the kind's.",
    "classes": "How many.",
    "trivial": "What a predictor that looks at no image scores on the validation part.",
    "train_images": "How many it learns from.",
    "val_images": "How many it is validated on.",
    "epochs": "Of its stage.",
    "image_size": "Side of its square images, in pixels.",
    "test": "Its test part, where it has one: id, images, trivial, weakness.",
    "strategy": "As the table has it.",
    "order": "The tasks, one after the other.",
    "seed": "The seed.",
    "stages of a run": "Their keys, the first one first.",
}
WORDS = {
    "stage": "Its key.",
    "epoch": "From 1 in the stage; a fraction inside of one.",
    "task": "What was scored.",
    "split": "The part: val (or a dev part), test.",
    "data": "Of which test part, by its hash; empty: of val.",
    "metric": "Its name.",
    "value": "The score, 0 to 1; empty in classes.csv where the class occurs nowhere.",
    "class": "Its name.",
    "train_seconds": "Seconds of training.",
    "evaluation_seconds": "Seconds of scoring.",
    "parameters": "Of the model.",
    "multiply_adds": "Of one image's forward pass, all tasks answered.",
    "added_parameters": "What the strategy adds to the model at inference.",
    "added_passes": "Forward passes that it adds at inference.",
    "stored_images": "The most that is kept of one past task; empty: not known.",
    "peak_memory_mb": "Greatest memory of the process, MB.",
    "training_flops": "Floating-point operations of training, experts' included.",
    "python": "Its version.",
    "torch": "Its version.",
    "torchvision": "Its version.",
    "platform": "System and C library.",
    "processor": "Its name, and the instructions that torch uses of it.",
    "threads": "CPU threads.",
    "device": "cpu, or the GPU's name.",
    "precision": "Of forward passes.",
    "experiment": "Its name.",
    "strategy": "`baseline`: a task alone.",
    "order": "Such as seg>det>cls.",
    "seed": "The seed.",
    "position": "The stage's place in its run, from 0.",
    "trained": "The stage's tasks, joined by +.",
    "step": "Epochs since the run began.",
    "last": "Whether the epoch ends its stage.",
    "kind": "The task's kind.",
    "status": "done; failed, missing, incomplete or unscored where something is not there.",
    "headline": "Whether drop and verdict are of this metric.",
    "predictor": "Which of the kind's.",
    "planned_seeds": "Seeds that were asked for.",
    "seeds": "Seeds that are done.",
    "together": "Whether all tasks are learnt in one stage.",
    "baseline": "The single-task score, a mean over seeds.",
    "final": "The score at the end, a mean over seeds.",
    "drop": "(baseline - final) / baseline, of the means; a share.",
    "drop_low": "Lower end of its 95 % interval.",
    "drop_high": "Upper end of its 95 % interval.",
    "seeds_deviation": "Standard deviation of the mean drop by seeds; of single seeds it is sqrt(seeds) times that.",
    "images_deviation": "Standard deviation of the drop by images.",
    "interaction_deviation": "How much of the seeds' is by single images.",
    "points": "100 (baseline - final), percentage points.",
    "same_run_drop": "The drop from the score right after the task was learnt.",
    "forgetting": "Best minus last score since the task was learnt.",
    "backward_transfer": "Final score minus the one right after the task was learnt.",
    "intransigence": "Baseline minus the score right after the task was learnt.",
    "trivial": "What a predictor that looks at no image scores.",
    "verdict": "pass, fail, bonus, void, with (uncertain).",
    "scored": "Images that the score is of.",
    "settling_seeds": "Seeds, in all, that would settle the verdict.",
    "settling_images": "Test images that would settle it.",
    "relative_cost": "Time of training, naive being 1.",
    "relative_flops": "Operations of training, naive being 1.",
    "mixed_environment": "Whether the stages ran on different software or machines.",
    "average_drop": "Mean drop of the run's tasks.",
    "averaged": "How many tasks are in it.",
    "lowest": "Lowest score since the task was learnt.",
    "stability_gap": "The most that was lost and came back within a later stage of other tasks.",
    "leading": "Whether it is printed bold.",
    "schedule": "per_stage or total.",
    "epochs": "Of the task.",
    "image_size": "Side of its images, in pixels.",
    "train_images": "How many it learns from.",
    "val_images": "Of the validation part.",
    "test_images": "Of the test part.",
    "commit": "Of the code.",
    "machine": "Processor, cores, system.",
    "version": "Of cl_bench.",
}


def page() -> str:
    """Return the page."""
    results = read_results(QUICKSTART)
    of_table = everything(summary(results), results).columns
    parts = [
        table(("file", "what it has"), [(", ".join(map(code, name.split(", "))), what) for name, what in FOLDER]),
        "## plan.json",
        _fields(plan_file.Plan),
        "Each of `tasks`:",
        _fields(plan_file.PlannedTask),
        "Each of `runs`:",
        _fields(plan_file.PlannedRun),
        "## rows.csv",
        _columns(export.ROWS),
        "## stages.csv",
        _columns(("stage", *NUMBERS, *ENVIRONMENT)),
        "## classes.csv",
        _columns(per_class.EXPORTED),
        "## resamples.parquet",
        "A row a resample of the images, a column a stage and task, named `KEY TASK`; `KEY/DATA TASK` for a test part."
        " The same row weighs the same images in every column, so differences are paired.",
        "## table.csv",
        _columns(of_table),
        "## What `load_results` returns",
        _columns(COLUMNS),
        "## The store of stages",
        "A folder a stage, by its key, written whole or not at all.",
        table(("file", "what it has"), [(", ".join(map(code, name.split(", "))), what) for name, what in STORED]),
    ]
    opening = (
        "For whoever reads results with tools of their own. They lie in `results/NAME`; tables are rebuilt from these"
        " alone."
    )
    return whole_page("Files and columns", opening, *parts)


def _columns(names: Iterable[str]) -> str:
    return table(("column", "meaning"), [(code(name), _word(WORDS, name)) for name in names])


def _fields(model: type[BaseModel]) -> str:
    docs = docs_of(model)
    known = {**PLAN, "stages": PLAN["stages of a run"]} if model is plan_file.PlannedRun else PLAN
    return table(
        ("key", "meaning"), [(code(name), docs.get(name) or _word(known, name)) for name in model.model_fields]
    )


def _word(known: Mapping[str, str], name: str) -> str:
    if name not in known:
        raise LookupError(f"tools/reference/files.py does not say what {name!r} means")
    return known[name]
