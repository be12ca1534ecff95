"""`data prepare`, `data audit`, `data show`, `data add`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cl_bench.cli.app import Changes, ExperimentName, Plugins, app
from cl_bench.cli.group import App, flags
from cl_bench.errors import UserError
from cl_bench.utils.parsing import split_choice

data_app = App(name="data", help="Prepare, audit, show and add data sets.")
app.add_typer(data_app)


@data_app.command()
def audit(experiment: ExperimentName, changes: Changes = None, plugin: Plugins = None) -> None:
    """Check labels, values, leaks and files of every task.

    Leaks are images that stand in two of train, val and test; files are those that cannot be read, too.
    """
    from cl_bench.config.presets import load_experiment
    from cl_bench.plugins.plugin_files import load_plugin_files
    from cl_bench.tasks.audit_report import report
    from cl_bench.tasks.catalog import load_catalog

    load_plugin_files(plugin or ())
    typer.echo(report([entry.audit for entry in load_catalog(load_experiment(experiment, changes or ()))]))


@data_app.command()
def show(
    experiment: ExperimentName,
    task: Annotated[str, typer.Argument(help="A task of the experiment.")],
    split: Annotated[str, typer.Option(help="train, val or, if there is one, test.")] = "train",
    count: Annotated[int, typer.Option(min=1, help="Images on the sheet.")] = 24,
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write.")] = Path("sheet.png"),
    changes: Changes = None,
    plugin: Plugins = None,
) -> None:
    """Draw a task's images as training sees them, with their masks, boxes or labels; augmented ones beside those."""
    from cl_bench.config.presets import load_experiment
    from cl_bench.errors import unknown_name_error
    from cl_bench.plugins.plugin_files import load_plugin_files
    from cl_bench.tasks.catalog import read_split, read_task, test_part
    from cl_bench.tasks.contact_sheet import contact_sheet

    load_plugin_files(plugin or ())
    loaded = load_experiment(experiment, changes or ())
    names = [config.name for config in loaded.tasks]
    if task not in names:
        raise unknown_name_error("task", task, names)
    if split not in ("train", "val", "test"):
        raise unknown_name_error("split", split, ("train", "val", "test"))
    config = loaded.tasks[names.index(task)]
    shown, train, val = read_task(loaded, names.index(task), config)
    parts = {"train": train, "val": val}
    if split == "test":
        if not test_part(config):
            raise UserError(f"the data of task {task} has no test part")
        parts["test"] = read_split(config, "test")
    try:
        augment = loaded.protocol(config).augment if split == "train" else None
        sheet = contact_sheet(shown, parts[split], count, augment=augment, corruption=config.corruption)
        sheet.save(output)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot write {output}: {error}") from error
    typer.echo(output)


@data_app.command(name="add")
def add_data(
    name: Annotated[str, typer.Argument(help="The task's name.")],
    path: Annotated[Path, typer.Option(help="The folder; what it holds is found out: `cl-bench list formats`.")],
    kind: Annotated[str, typer.Option(help="Of task, where several fit: `cl-bench list kinds`.")] = "",
    format: Annotated[str, typer.Option(help="How it is laid out, in place of what is found out.")] = "",
    classes: Annotated[str, typer.Option(help="In place of all that the data has: person,car,dog.")] = "",
    split_off: Annotated[
        bool, typer.Option("--split-off", help="Of data without val: a tenth each for val and test, by class.")
    ] = False,
    option: Annotated[
        list[str] | None, typer.Option(help="Of the format: masks='{split}/gt/{name}.png', colours='{cat: red}'.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="An experiment to add the task to, in place of a new one.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write NAME.yaml to.")] = Path(),
    plugin: Plugins = None,
) -> None:
    """Find out what a folder of yours holds, audit it, and write an experiment of it."""
    from cl_bench.config.presets import parse_change
    from cl_bench.plugins.plugin_files import load_plugin_files
    from cl_bench.tasks.from_folder import add

    load_plugin_files(plugin or ())
    options = dict(parse_change(one, "--option") for one in option or ())
    file, found = add(
        name,
        kind,
        path,
        output,
        format,
        split_choice(classes, "--classes"),
        to=to,
        split_off=split_off,
        options=options,
    )
    typer.echo(found)
    told = f"{file}: cl-bench run {file} trains its baseline; its task can stand in any experiment's `tasks:`"
    typer.echo(f"{file} has the task {name} now" if to else told)


@data_app.command(name="prepare")
def prepare_data(
    names: Annotated[
        list[str] | None, typer.Argument(help="mini_voc_seg, mini_coco_det, imagenette_160; none: all.")
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to; CL_BENCH_DATA otherwise.")] = None,
    train: Annotated[int | None, typer.Option(min=1, help="Images to learn from; else 240.")] = None,
    val: Annotated[int | None, typer.Option(min=1, help="Images to validate with; else 60.")] = None,
    test: Annotated[int | None, typer.Option(min=0, help="Images to test on, 0: none; else 600, 430, 300.")] = None,
) -> None:
    """Download the public sets and cut the Mini sets from them.

    These are VOC2012, COCO 2017 and Imagenette; the Mini sets have 240 / 60 images, and test parts of 600, 430, 300.
    """
    from cl_bench.cli.progress import download_progress
    from cl_bench.data.prepare.recipes import RECIPES
    from cl_bench.data.prepare.subsets import prepare
    from cl_bench.utils.paths import data_root

    with download_progress(flags.quiet) as progress:
        for name in names or list(RECIPES):
            typer.echo(prepare(name, output or data_root(), progress=progress, train=train, val=val, test=test))
