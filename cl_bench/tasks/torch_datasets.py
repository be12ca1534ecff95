"""An experiment whose data were given as objects, as one that only names what can be read again."""

from __future__ import annotations

from cl_bench.config.schema import Experiment, TaskConfig
from cl_bench.config.torch_datasets import FORMAT, HeldDataset
from cl_bench.data.torch_datasets import write_dataset
from cl_bench.errors import UserError


def write_datasets(experiment: Experiment) -> Experiment:
    """Write data sets that tasks were given to the cache, and return the experiment with what they go by there.

    Raises UserError for a data set that is not as it must be.
    """
    return experiment.model_copy(update={"tasks": tuple(map(_stored, experiment.tasks))})


def _stored(task: TaskConfig) -> TaskConfig:
    given = {part: held.dataset for part, held in task.data.items() if isinstance(held, HeldDataset)}
    if not given:
        return task
    if task.data["format"] != FORMAT:
        raise UserError(f"data of task {task.name}: format {task.data['format']} takes no data set as an object")
    digests = {part: write_dataset(dataset, task.kind, part, task.name) for part, dataset in given.items()}
    return task.model_copy(update={"data": {**task.data, **digests}})
