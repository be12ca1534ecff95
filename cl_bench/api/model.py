"""`cl_bench.load_model`: what a run has learnt, to be asked about images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cl_bench.api.arguments import check
from cl_bench.api.results import Results
from cl_bench.data.images import open_image
from cl_bench.data.pictures import as_picture
from cl_bench.deploy.inputs import as_images
from cl_bench.deploy.runtimes import eager
from cl_bench.deploy.trained import Trained, load_trained
from cl_bench.results.plan_file import experiment_folder


class Model:
    """A trained model: `predict` asks it, `module` is the torch module, `tasks` and `origin` say what it is.

    ::

        model = cl_bench.load_model("quickstart", strategy="kd")
        model.predict("photo.jpg")["det"].boxes
    """

    def __init__(self, trained: Trained) -> None:
        self._trained = trained
        self._forward = eager(trained.deployed(), torch.get_num_threads())

    def __repr__(self) -> str:
        origin = self._trained.origin
        order = ">".join(origin["order"])
        return f"<Model of {origin['experiment']}: {origin['strategy']}, {order}, seed {origin['seed']}>"

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of its tasks."""
        return tuple(task.name for task in self._trained.model.tasks)

    @property
    def module(self) -> torch.nn.Module:
        """The model in torch, in evaluation mode, with a predictor a task."""
        return self._trained.model

    @property
    def origin(self) -> dict[str, Any]:
        """Where its weights are from: experiment, strategy, order, seed, stage, commit and machine."""
        return dict(self._trained.origin)

    def predict(self, image: Any) -> dict[str, Any]:
        """Return what every task says of an image, from one forward pass.

        image: a path, a PIL image, an array (H, W, 3) or a tensor (3, H, W), uint8 or floats in 0..1. A file is turned
        as its EXIF orientation says, as viewers show it; what is in memory is taken as it is. Returns by task a
        `Label`, `Detections` or a `Mask` (of other kinds an `Answer`), in pixels of the image. Raises UserError for
        what is no image. Example: `model.predict("photo.jpg")["cls"].label`.
        """
        picture = open_image(Path(image)) if isinstance(image, str | Path) else as_picture(image).convert("RGB")
        side = self._trained.image_size
        pixels = np.asarray(picture.resize((side, side), Image.Resampling.BILINEAR))
        predictions: dict[str, Any] = {}
        for task, output in zip(self._trained.model.tasks, self._forward(as_images([pixels])), strict=True):
            found, plain = task.kind.answer(task, torch.from_numpy(output), picture.size)
            predictions[task.name] = task.kind.prediction(found, plain, task.classes)
        return predictions


def load_model(results: Results | str | Path, strategy: str = "", *, order: str = "", seed: int | None = None) -> Model:
    """Return the model that a run ended with.

    ::

        model = cl_bench.load_model("quickstart", strategy="kd", seed=0)
        model.predict("photo.jpg")

    results: what `run` or `load_results` returned, or the name or folder of results whose stages are in the store;
    strategy: which, needed where there are several; order: "seg-det-cls", the first where empty; seed: the first where
    None. Raises UserError where there is no such run, or its weights are not there.
    """
    check(strategy=strategy, order=order, seed=seed)
    if isinstance(results, Results):
        folder = results.folder
    else:
        check(results=results)
        folder = experiment_folder(results)
    return Model(load_trained(folder, strategy, order.replace(">", "-"), seed, how="strategy="))
