"""What is trained: backbone, pyramid, shared layer, one predictor per task; knows no data, training or strategy."""

from cl_bench.model.unified import Features, UnifiedModel

__all__ = ["Features", "UnifiedModel"]
