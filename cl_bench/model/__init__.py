"""What is trained: backbone, feature pyramid, shared layer, a predictor a task; knows no data, training or strategy."""

from cl_bench.model.unified import Features, UnifiedModel

__all__ = ["Features", "UnifiedModel"]
