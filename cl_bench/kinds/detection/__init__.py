"""Detection: boxes from cells of a grid."""

from cl_bench.kinds.detection.kind import Detection

__all__ = ["Detection"]
