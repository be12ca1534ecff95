"""The data path alone: an epoch's images and targets as a stage gets them, beside torchvision reading the same files.

python benchmarks/reading.py unified_onehead_best

Torchvision decodes and resizes each file at each access and builds no targets but masks. The data path here reads
images that were decoded and resized once, and builds all targets; `decoding` is the same path without that cache, and
`filling` how many images a second go into it. With augmentation it does what torchvision does not.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from pairs import arguments, interleaved, keep, ratio, timed
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.functional import InterpolationMode, resize

from cl_bench.config.presets import load_experiment
from cl_bench.data.base import Example
from cl_bench.model.backbone import load_weights
from cl_bench.model.trial import try_experiment
from cl_bench.results.store.store import Store
from cl_bench.stages.trainer import Trainer
from cl_bench.tasks.catalog import load_catalog
from cl_bench.tasks.dataset import TaskDataset, collate
from cl_bench.utils.machine import set_up_numerics

NO_CACHE = {"CL_BENCH_CACHE_LIMIT_MB": "0"}


class Files(Dataset[tuple[Tensor, Tensor]]):
    """Images (3, S, S), and masks (1, S, S) where there are any, decoded and resized at each access."""

    def __init__(self, examples: Sequence[Example], size: int, masks: bool) -> None:
        self.examples, self.size, self.masks = examples, [size, size], masks

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        example = self.examples[index]
        image = resize(decode_image(str(example.image), ImageReadMode.RGB), self.size, antialias=True)
        if not self.masks:
            return image, torch.tensor(index)
        mask = decode_image(str(example.target), ImageReadMode.GRAY)
        return image, resize(mask, self.size, InterpolationMode.NEAREST)


def through(loader: Iterable[object]) -> float:
    """Return the seconds of one pass over `loader`."""

    def epoch() -> None:
        for _ in loader:
            pass

    return timed(epoch)


def loader(dataset: TaskDataset, batch: int) -> DataLoader[tuple[Tensor, object]]:
    """Return batches as a stage has them."""
    label = dataset.task.index
    return DataLoader(
        dataset, batch, shuffle=True, collate_fn=lambda samples: collate([(*sample, label) for sample in samples])
    )


def filling(trainer: Trainer, name: str) -> float:
    """Return the seconds of decoding the task's training and validation images into an empty cache."""
    with tempfile.TemporaryDirectory() as empty, patch.dict(os.environ, CL_BENCH_CACHE=empty):
        return timed(lambda: trainer.datasets(name, 0))


def main() -> None:
    """Print a row a task."""
    parser = arguments(__doc__, rounds=5, threads=1)
    parser.add_argument("experiment")
    options = parser.parse_args()
    set_up_numerics(options.threads)
    experiment = load_experiment(options.experiment)
    weights = load_weights(experiment.model.backbone, experiment.model.weights, try_experiment(experiment))
    trainer = Trainer(experiment, load_catalog(experiment), weights, Store(Path("unused"), writable=False))
    shown = ("plain", "augmented", "decoding")
    print(
        f"| task, images/s | torchvision | {' | '.join(shown)} | filling | {' | '.join(f'{s}, ratio' for s in shown)} |"
    )
    print("|---|" + "--:|" * 8)
    found = {}
    for entry in trainer.catalog:
        task, batch = entry.task, entry.protocol.batch_size
        augmented = trainer.datasets(task.name, 0)[0]
        with tempfile.TemporaryDirectory() as empty, patch.dict(os.environ, NO_CACHE, CL_BENCH_CACHE=empty):
            decoding = trainer.datasets(task.name, 0)[0].plain
        examples = entry.audit.train.examples
        files = Files(examples, task.image_size, masks=task.kind.name == "segmentation")
        loaders = {
            "plain": loader(augmented.plain, batch),
            "augmented": loader(augmented, batch),
            "decoding": loader(decoding, batch),
            "torchvision": DataLoader(files, batch, shuffle=True),
        }
        ways = {way: partial(through, one) for way, one in loaders.items()}
        ways["filling"] = partial(filling, trainer, task.name)
        seconds = found[task.name] = interleaved(ways, options.rounds)
        counts = dict.fromkeys(ways, len(examples)) | {"filling": len(examples) + len(entry.audit.val.examples)}
        order = ("torchvision", *shown, "filling")
        rates = [f"{counts[way] / statistics.median(seconds[way]):.0f}" for way in order]
        ratios = [f"{ratio(seconds[way], seconds['torchvision']):.2f}" for way in shown]
        print(f"| {task.name} | {' | '.join([*rates, *ratios])} |", flush=True)
    keep(options, {"seconds": found})


if __name__ == "__main__":
    main()
