"""Trains a plan on the machines of a Ray cluster, which share one store; what is lost with a node is tried again."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import threading
from dataclasses import dataclass
from typing import Any

from cl_bench.config.schema import Experiment
from cl_bench.errors import UserError, describe_error
from cl_bench.results.store.failures import Failure
from cl_bench.runner.executors.base import POLL, Executor, Job, Report, record_outcome
from cl_bench.runner.executors.frontier import Chain, Frontier
from cl_bench.runner.prepare import Prepared
from cl_bench.stages.attempt import LINES, Outcome, attempt
from cl_bench.stages.trainer import Progress

PATIENCE = 5.0
"""Seconds in which a cluster must answer."""
RETRIES = 5
"""How often a chain is given to another worker after the one that trained it, or its node, was lost."""


@dataclass(frozen=True)
class Ray(Executor):
    """Trains as Ray tasks, as many side by side as the cluster has the experiment's `resources` for.

    address: of the cluster ("auto": the one this machine is part of); empty: a cluster of this machine alone. Every
    node must see the same store and data under the same paths. A lost worker's chain starts from its last checkpoint.
    """

    address: str = ""

    def check(self, experiment: Experiment) -> None:
        """Raise UserError where ray is not installed, or nothing listens at the cluster's address."""
        _reach(self.address)

    def train(self, frontier: Frontier, prepared: Prepared, progress: Progress, report: Report) -> None:
        """Train on the cluster, which tells of no progress inside a stage."""
        ray = _reach(self.address)
        own = {} if self.address else {"include_dashboard": False}
        on_terminate = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=self.address or "local", log_to_driver=False, configure_logging=False, **own)
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, on_terminate)  # Ray puts its own there, which ends without a word
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"no Ray cluster answers at {self.address!r}: {' '.join(str(error).split())}") from error
        job = Job.of(prepared)
        try:
            _train(ray, frontier, job, report)
        finally:
            ray.shutdown()


def _reach(address: str) -> Any:
    """Return the module ray; UserError where it is not installed or nothing listens at the cluster's address."""
    if not address:
        # Read when ray is imported: has a cluster of this machine alone keep to 127.0.0.1.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    try:
        ray = importlib.import_module("ray")
    except ImportError as error:
        raise UserError("the Ray executor needs ray: pip install 'cl-bench[ray]', or '.[ray]' in a clone") from error
    _knock(address)
    return ray


def _knock(address: str) -> None:
    """Raise UserError where nothing listens at `address` (host:port): Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return  # "auto", or a scheme of Ray's own
    try:
        socket.create_connection((host, int(port)), timeout=PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {address!r}: {error}") from error


def _train(ray: Any, frontier: Frontier, job: Job, report: Report) -> None:
    wanted = job.experiment.resources
    cpus = job.experiment.threads if wanted.num_cpus is None else wanted.num_cpus
    offers = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(offer.get("CPU", 0) >= cpus and offer.get("GPU", 0) >= wanted.num_gpus for offer in offers):
        raise UserError(f"no node of the Ray cluster has the {cpus:g} CPUs and {wanted.num_gpus:g} GPUs of a stage")
    task = ray.remote(num_cpus=cpus, num_gpus=wanted.num_gpus, max_retries=RETRIES)(_train_on_node)
    shared, running = ray.put(job), dict[Any, Chain]()
    while len(frontier):
        while chain := frontier.take():
            report(chain[0], "started")
            running[task.remote(shared, chain)] = chain
        ended, _ = ray.wait(list(running), timeout=POLL)
        for reference in ended:
            chain = running.pop(reference)
            record_outcome(frontier, chain, _outcome(ray, reference), report)


def _outcome(ray: Any, reference: Any) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return Failure("raised", describe_error(error.cause), tuple(str(error).splitlines()[-LINES:]))
    except ray.exceptions.RayError as error:
        return Failure("killed", f"lost {RETRIES + 1} times: {' '.join(str(error).split())}")


_trainers: dict[str, Any] = {}


def _train_on_node(job: Job, chain: Chain) -> Outcome:
    if repr(job) not in _trainers:  # a worker process serves many chains
        _trainers[repr(job)] = job.trainer()
    plan, trainer = _trainers[repr(job)]
    return attempt(trainer, plan, chain, lambda *_: None)
