"""A model looked at and put to use: `model show`, `model export`, `model predict`, `model latency`."""

from __future__ import annotations

from contextlib import nullcontext
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cl_bench.cli.app import Changes, ExperimentName, Plugins, app, results_folder
from cl_bench.cli.group import App, ModelGroup
from cl_bench.errors import UserError
from cl_bench.utils.parsing import split_choice

if TYPE_CHECKING:
    from cl_bench.deploy.trained import Trained

model_app = App(name="model", cls=ModelGroup, help="Show, export, time and use a model.")
app.add_typer(model_app)
Strategy = Annotated[str, typer.Option(help="Of which strategy; needed where the experiment has several.")]
Order = Annotated[str, typer.Option(help="Of which order, such as seg-det-cls; the first otherwise.")]
Seed = Annotated[int | None, typer.Option(help="Of which seed; the first otherwise.")]


class ExportFormat(str, Enum):
    """What `export` writes."""

    onnx = "onnx"
    onnx_int8 = "onnx-int8"
    openvino = "openvino"
    torch = "torch"


@model_app.command()
def show(experiment: ExperimentName, changes: Changes = None, plugin: Plugins = None) -> None:
    """Print a model's parts, parameters and multiply-adds."""
    from cl_bench.deploy.model_card import model_card
    from cl_bench.plugins.plugin_files import load_plugin_files

    load_plugin_files(plugin or ())
    typer.echo(model_card(experiment, changes or ()))


@app.command(hidden=True)
@model_app.command()
def export(
    experiment: ExperimentName,
    format: Annotated[ExportFormat, typer.Option("--format", "-f", help="Of which kind.")] = ExportFormat.onnx,
    strategy: Strategy = "",
    order: Order = "",
    seed: Seed = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A new folder; EXPERIMENT-FORMAT else.")] = None,
    score: Annotated[bool, typer.Option("--score", help="Score val with PyTorch and with the export.")] = False,
    plugin: Plugins = None,
) -> None:
    """Write a run's last model, checked against PyTorch.

    A file beside it says how to read what it answers.
    """
    from cl_bench.deploy import export as exporting

    trained = _trained(experiment, strategy, order, seed, plugin)
    folder = output or Path(f"{trained.experiment.name}-{format.value}")
    typer.echo(exporting.export(trained, format.value, folder))
    if score:
        from cl_bench.deploy.evaluation import compared

        for line in compared(trained, folder, format.value):
            typer.echo(line)


@app.command(hidden=True)
@model_app.command()
def predict(
    experiment: ExperimentName,
    source: Annotated[Path, typer.Argument(help="An image or a folder of images.")],
    strategy: Strategy = "",
    order: Order = "",
    seed: Seed = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to write to.")] = Path("predictions"),
    plugin: Plugins = None,
) -> None:
    """Draw masks, boxes and labels of your images.

    All are answers of one forward pass, and are written as JSON, too.
    """
    from cl_bench.deploy import predict as predicting

    for path in predicting.predict(_trained(experiment, strategy, order, seed, plugin), source, output):
        typer.echo(path)


@app.command(hidden=True)
@model_app.command()
def latency(
    experiments: Annotated[
        list[str], typer.Argument(help="An experiment; or files of --output, of any machines, for one table of all.")
    ],
    runtimes: Annotated[str, typer.Option(help="Any of eager, onnxruntime, onnxruntime-int8, openvino.")] = "",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Images a pass.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Timed passes.")] = 50,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A JSON file that can be sent in.")] = None,
    changes: Changes = None,
    plugin: Plugins = None,
) -> None:
    """Time a forward pass in each runtime on this machine.

    It answers all tasks; the weights are random, which no time depends on.
    """
    from cl_bench.deploy import latency as timing
    from cl_bench.utils.files import replacing

    files = all(name.endswith(".json") for name in experiments)
    if files and (runtimes or changes or plugin or (threads, batch, repeats) != (1, 1, 50)):
        raise UserError("files of --output are merged as they are: of the options --output alone goes with them")
    experiment, *others = experiments
    if others and not files:
        raise UserError(f"one model is timed at once, not {len(experiments)}; files of --output are merged")
    names = split_choice(runtimes, "--runtimes") or list(timing.LIBRARIES)
    with replacing(output) if output else nullcontext() as file:  # where it cannot be written, before the work
        if files:
            found = timing.load([Path(name) for name in experiments])
        else:
            found = timing.measure(experiment, changes or (), names, threads, batch, repeats, plugin or ())
        typer.echo(timing.table(found))
        if file:
            file.write(timing.to_json(found).encode())


@app.command(hidden=True)
def latencies(files: Annotated[list[Path], typer.Argument(help="What `latency --output` wrote, anywhere.")]) -> None:
    """Merge the latencies of several machines into a table."""
    from cl_bench.deploy import latency as timing

    typer.echo(timing.table(timing.load(files)))


def _trained(experiment: str, strategy: str, order: str, seed: int | None, plugin: list[str] | None) -> Trained:
    from cl_bench.deploy.trained import load_trained
    from cl_bench.plugins.plugin_files import load_plugin_files

    load_plugin_files(plugin or ())
    try:
        return load_trained(results_folder(experiment), strategy, order, seed)
    except KeyError as error:
        raise UserError(f"the results of {experiment} lack {error}") from error
