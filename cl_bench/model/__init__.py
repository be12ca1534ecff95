"""The one model: a backbone, a feature pyramid, a shared layer, and a predictor a task."""

from cl_bench.model.unified import Features, UnifiedModel

__all__ = ["Features", "UnifiedModel"]
