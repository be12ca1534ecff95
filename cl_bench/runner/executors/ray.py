"""Trains a plan on the machines of a Ray cluster, which share one store; what is lost with a node is tried again."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import threading
from typing import Any

from cl_bench.errors import UserError, describe_error
from cl_bench.results.store.failures import Failure
from cl_bench.runner.executors.frontier import Frontier, Unit
from cl_bench.runner.executors.local import POLL, Job, Report, settle
from cl_bench.stages.attempt import LINES, Outcome, attempt

PATIENCE = 5.0
"""Seconds in which a cluster must answer."""
RETRIES = 5
"""How often a unit is given to another worker after the one that trained it, or its node, was lost."""


def train_with_ray(frontier: Frontier, job: Job, address: str, report: Report) -> None:
    """Train the units as Ray tasks, as many side by side as the cluster has `job.experiment.resources` for.

    address: of the cluster ("auto": the one this machine is part of); empty: a cluster of this machine alone. Every
    node must see the same store and data under the same paths. A lost worker's unit starts from its last checkpoint.
    """
    ray = reach(address)
    own = {} if address else {"include_dashboard": False}
    on_terminate = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", log_to_driver=False, configure_logging=False, **own)
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_terminate)  # Ray puts its own there, which ends without a word
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(f"no Ray cluster answers at {address!r}: {' '.join(str(error).split())}") from error
    try:
        _train(ray, frontier, job, report)
    finally:
        ray.shutdown()


def reach(address: str) -> Any:
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
    shared, running = ray.put(job), dict[Any, Unit]()
    while len(frontier):
        while unit := frontier.take():
            report(unit[0], "started")
            running[task.remote(shared, unit)] = unit
        ended, _ = ray.wait(list(running), timeout=POLL)
        for reference in ended:
            unit = running.pop(reference)
            settle(frontier, unit, _outcome(ray, reference), report)


def _outcome(ray: Any, reference: Any) -> Outcome:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return Failure("raised", describe_error(error.cause), tuple(str(error).splitlines()[-LINES:]))
    except ray.exceptions.RayError as error:
        return Failure("killed", f"lost {RETRIES + 1} times: {' '.join(str(error).split())}")


_trainers: dict[str, Any] = {}


def _train_on_node(job: Job, unit: Unit) -> Outcome:
    if repr(job) not in _trainers:  # a worker process serves many units
        _trainers[repr(job)] = job.trainer()
    plan, trainer = _trainers[repr(job)]
    return attempt(trainer, plan, unit, lambda *_: None)
