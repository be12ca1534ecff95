"""The compact table: a row a strategy, a group of columns a task."""

from cl_bench.report.tables.compact.formats import render
from cl_bench.report.tables.compact.rows import Cell, Compact, Row, Task, compact

__all__ = ["Cell", "Compact", "Row", "Task", "compact", "render"]
