from cl_bench.api.listing import list_backbones, list_strategies
from cl_bench.api.model import load_model
from cl_bench.api.results import Results, load_results
from cl_bench.api.run import run
from cl_bench.config.schema import Experiment
from cl_bench.config.schema import TaskConfig as Task
from cl_bench.errors import DivergedError, StageFailedError, UserError
from cl_bench.plugins.registry import data_format, kind, strategy, tracker
from cl_bench.training.harness import Harness

__version__: str
__all__ = [
    "DivergedError",
    "Experiment",
    "Harness",
    "Results",
    "StageFailedError",
    "Task",
    "UserError",
    "data_format",
    "kind",
    "list_backbones",
    "list_strategies",
    "load_model",
    "load_results",
    "run",
    "strategy",
    "tracker",
]
