"""What is known of Avalanche's own plug-ins: which cannot train a stream of different kinds of task, and why."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

_CLASSES = "it keeps images by their class, and a mask or a map of boxes has none"
_MEANS = "it writes class means into a model that classifies by them"
_BASE = "it is what plug-ins are made from, and does nothing"
_GENERATOR = "it needs a model that generates images"
REFUSED = {
    "BasePlugin": _BASE,
    "BaseSGDPlugin": _BASE,
    "BiCPlugin": "it corrects the one head that all classes share, and each task has its own",
    "CWRStarPlugin": "it wants the model as an argument, and classes that are rows of a last linear layer",
    "CheckpointPlugin": "stages are stored and resumed without it",
    "Clock": "there is one already, and steps would be counted twice",
    "CoPEPlugin": "its loss is one of class prototypes, in place of the tasks' own",
    "CurrentDataFeCAMUpdate": _MEANS,
    "CurrentDataNCMUpdate": _MEANS,
    "EarlyStoppingPlugin": "it watches a metric of Avalanche's, and a stage has the epochs that the experiment says",
    "FeCAMOracle": _MEANS,
    "FeatureDistillationPlugin": "it takes `model.features` for a tensor and overwrites it; there is `feature_kd`",
    "GDumbPlugin": _CLASSES,
    "GSS_greedyPlugin": "it keeps a class number an image, and a mask or a map of boxes is none",
    "GenerativeReplayPlugin": _GENERATOR,
    "ICaRLLossPlugin": "it is a loss over classes in place of the tasks' own",
    "LFLPlugin": "it wants a model of Avalanche's with a last linear layer; there is `feature_kd`",
    "LRSchedulerPlugin": "it wants a scheduler as an argument, and rates are the experiment's; there is `layer_rates`",
    "LwFPlugin": "it compares softmaxes over classes, and boxes have none; there is `lwf`",
    "MIRPlugin": _CLASSES,
    "MaskedCrossEntropy": "it is a loss over classes in place of the tasks' own",
    "MemoryFeCAMUpdate": _MEANS,
    "MemoryNCMUpdate": _MEANS,
    "NCMOracle": _MEANS,
    "PackNetPlugin": "it wants a model of Avalanche's that was made for it",
    "PeriodicEval": "the experiment says when a stage is scored",
    "RARPlugin": "it looks for stored images of another class, and a mask or a map of boxes has none",
    "SupervisedMetaLearningPlugin": _BASE,
    "SupervisedPlugin": _BASE,
    "TrainGeneratorAfterExpPlugin": _GENERATOR,
}
"""Class -> why it is refused, in words that follow its name."""


NUMBERS = frozenset({"decay_factor", "ewc_lambda"})
"""Settings that are numbers, which their classes' signatures do not say."""
MIXING = frozenset({"AGEMPlugin", "ReplayPlugin"})
"""Classes that put images of several tasks into one batch, which must then have one size."""


def refusal(plugin: type) -> str | None:
    """Return why a plug-in class cannot be used; None where it can, or is not Avalanche's."""
    if not _is_stock(plugin):
        return None
    if plugin.__module__.startswith("avalanche.logging"):
        return "it logs what Avalanche's metrics say, and none of them are asked; there are `trackers`"
    if plugin.__name__ == "GEMPlugin":
        return _without_solver()
    return REFUSED.get(plugin.__name__)


def wrong_setting(plugin: type, settings: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a setting of one of Avalanche's classes, which look at none; None where nothing is."""
    if not _is_stock(plugin):
        return None
    own = inspect.signature(plugin).parameters
    for name, value in settings.items():
        if value == own[name].default:  # `BiCPlugin` means by its -1 that it chooses for itself
            continue
        if isinstance(value, int | float) and value < 0:
            return f"{name} must not be negative"
        if name in NUMBERS and not isinstance(value, int | float | None):
            return f"{name} is a number"
    return None


def adapted(plugin: type) -> Callable[..., Any]:
    """Return what is built in place of a plug-in class: mostly itself."""
    from cl_bench.plugins.adapted import ADAPTED  # not at import, as it imports Avalanche

    return ADAPTED.get(plugin.__name__, plugin) if _is_stock(plugin) else plugin


def mixes(plugin: object) -> bool:
    """Return whether a plug-in puts images of several tasks into one batch as Avalanche's own do."""
    return any(_is_stock(cls) and cls.__name__ in MIXING for cls in type(plugin).__mro__)


def _is_stock(plugin: type) -> bool:
    return plugin.__module__.partition(".")[0] == "avalanche"


def _without_solver() -> str | None:
    try:
        importlib.import_module("quadprog")
    except ImportError:
        return "it needs the package quadprog, the extra `gem`; there is `gem`, which does not"
    return None
