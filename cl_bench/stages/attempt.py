"""One attempt at a chain, as every executor makes it: claimed, trained, and its end told as a value."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from cl_bench.errors import DivergedError, describe_error
from cl_bench.results.store.failures import Failure
from cl_bench.stages.plan import Plan
from cl_bench.stages.trainer import Progress, Trainer

BUSY = "busy"
"""Another process is training the chain."""
DONE = "done"
LINES = 20
"""Of its log that a failure keeps."""

Outcome = str | Failure


def attempt(
    trainer: Trainer, plan: Plan, chain: Sequence[str], progress: Progress, begin: Callable[[], object] = lambda: None
) -> Outcome:
    """Train `chain`, or score what is stored of it, unless another process is at it; what goes wrong is returned.

    begin: called once the chain is this process' own.
    """
    try:
        with ExitStack() as claims:
            if not all(claims.enter_context(trainer.store.claim(key)) for key in chain):
                return BUSY
            begin()
            if all(key in trainer.store for key in chain):  # or another process trained it since it was planned
                trainer.score(plan, chain)
            else:
                trainer.train(plan, chain, progress)
            return DONE
    except DivergedError as error:
        return Failure("diverged", str(error))
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a plug-in may raise anything, and the rest of the plan goes on
        return Failure("raised", _reason(error), tuple(traceback.format_exc().splitlines()[-LINES:]))


def _reason(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" ({Path(where[0].filename).name}:{where[0].lineno})" if where else ""
    return f"{describe_error(error)}{place}"
