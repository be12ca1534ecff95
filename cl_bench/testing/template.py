"""The files that a strategy of one's own begins with: `cl-bench strategy new`."""

from __future__ import annotations

import importlib.util
import keyword
from pathlib import Path

from cl_bench.errors import UserError
from cl_bench.plugins.registry import strategies
from cl_bench.utils.files import write_whole

_STRATEGY = '''"""{name}: say here what the idea is. It begins as a pull towards what earlier tasks learnt."""

from typing import Annotated, Any

from avalanche.core import SupervisedPlugin
from pydantic import Field

from cl_bench import Harness, strategy


class {title}(SupervisedPlugin):
    # The first stage is naive's and shared; what gathers in its steps has state_dict and load_state_dict(tensors).
    acts_from, stateless, stores_images = 2, True, False

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def before_training_exp(self, strategy: Harness, **_: Any) -> None:
        self.anchor = {{name: p.detach().clone() for name, p in strategy.learnt_parameters().items()}}

    def before_backward(self, strategy: Harness, **_: Any) -> None:
        for name, value in self.anchor.items():
            strategy.loss += self.weight / 2 * (strategy.model.get_parameter(name) - value).square().sum()


@strategy("{name}", summary="say in a line what it does", neutral={{"weight": 0.0}})
def {name}(weight: Annotated[float, Field(ge=0)] = 0.1) -> list[SupervisedPlugin]:
    return [{title}(weight)]
'''
_TEST = '''"""{name} keeps to what every strategy must: pytest {test}"""

from pathlib import Path

from cl_bench.testing import check_strategy


def test_{name}() -> None:
    check_strategy("{name}", [Path(__file__).with_name("{name}.py")])
'''


def new_strategy(name: str, folder: Path) -> list[Path]:
    """Write NAME.py, a strategy that works, and test_NAME.py into `folder`; return their paths.

    Raises UserError where the name is taken, is no Python name or a module's, or a file is there already.
    """
    if not name.isidentifier() or name != name.lower() or name.startswith("_"):
        raise UserError(f"{name!r} cannot be a strategy's name: lower-case letters, digits and '_' make one")
    if keyword.iskeyword(name) or name == "conftest":
        raise UserError(f"{name!r} is a word of Python's or pytest's own, and cannot be a strategy's name")
    title = "".join(part.capitalize() for part in name.split("_")) + "Plugin"
    texts = {f"{name}.py": _STRATEGY, f"test_{name}.py": _TEST}
    for file in texts:
        if (folder / file).exists():
            raise UserError(f"{folder / file} is there already")
    if name in strategies or name == "baseline":
        raise UserError(f"there is a strategy {name!r} already")
    if _is_module(name):
        raise UserError(f"{name}.py would hide the module {name!r} from Python: take another name")
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder")
    return [
        write_whole(folder / file, text.format(name=name, title=title, test=f"test_{name}.py").encode())
        for file, text in texts.items()
    ]


def _is_module(name: str) -> bool:
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None  # a mere folder has none, and is hidden by nothing
