"""Harness: Avalanche's supervised template for a stream of different kinds of task; its only subclass here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from cl_bench.errors import DivergedError
from cl_bench.model.unified import Outputs, UnifiedModel, frozen_statistics
from cl_bench.results.store.checkpoints import Snapshot
from cl_bench.tasks.dataset import Targets, TaskDataset, collate
from cl_bench.training.context import StageContext, StageState, StepState
from cl_bench.training.ema import averaged, swapped
from cl_bench.training.loss import StreamLoss
from cl_bench.training.means import RunningMeans
from cl_bench.training.optimizer import freeze_rateless, parameter_groups, regroup
from cl_bench.training.schedule import InterleavedBatchSampler, StageSettings
from cl_bench.training.snapshot import put_back
from cl_bench.training.teachers import Ancestor, Teachers
from cl_bench.utils.randomness import derive, isolated, seed_all


class Harness(StageContext, SupervisedTemplate):
    """Trains one stage at a time on an Avalanche experience; what strategies may use is in `StageContext`.

    seen: the test experiences that evaluations score; average: the weights' moving average; log: one mapping an epoch;
    passes_per_evaluation: times the backbone ran for one evaluation batch.
    """

    def __init__(
        self,
        *,
        model: UnifiedModel,
        settings: StageSettings,
        plugins: Sequence[Any],
        evaluator: Any,
        initial: Callable[[], Mapping[str, Tensor]],
    ) -> None:
        self.settings, self.initial = settings, initial
        self.current, self.ancestors = (), ()
        self.seen: Any = ()
        self.step = self.epoch = 0
        self.report = {}
        self.log: list[dict[str, float]] = []
        self.evaluation_seconds = 0.0
        self.passes_per_evaluation = 1.0
        self.average: AveragedModel | None = None
        self._forget_stage(model)
        self.scaler = torch.amp.GradScaler(torch.device(settings.device).type, enabled=settings.precision == "float16")
        groups = parameter_groups(model, settings.backbone_rate, settings.early_rate)
        SupervisedTemplate.__init__(
            self,
            model=model,
            optimizer=torch.optim.AdamW(groups, fused=True),
            criterion=StreamLoss(model.tasks),
            device=settings.device,
            plugins=list(plugins),
            evaluator=evaluator,
        )

    def train_stage(
        self,
        experience: Any,
        settings: StageSettings,
        current: Sequence[TaskDataset],
        ancestors: Sequence[Ancestor],
        seen: Any,
        experts: Mapping[str, Callable[[], dict[str, Tensor]]] | None = None,
        snapshot: Snapshot | None = None,
        between_epochs: Callable[[], None] = lambda: None,
    ) -> None:
        """Train on one experience, whose data sets are `current`, and score the test experiences `seen` as it goes.

        experts: by task, what returns the weights of its single-task baseline, where a plug-in follows it; snapshot:
        where an earlier attempt at this very stage had got to; between_epochs: called after all but the last.
        """
        self.settings, self.current, self.ancestors, self.seen = settings, current, ancestors, seen
        self.report, self.log, self.evaluation_seconds = {}, [], 0.0
        self._stage = StageState(Teachers(self.model, experts or {}), snapshot, between_epochs)
        self._criterion.weights = {}
        self.train_mb_size = max(settings.batch_sizes.values())
        self.eval_mb_size = settings.evaluation_batch
        self.model.freeze_norm(settings.batch_norm == "frozen")
        try:
            self.train(experience, eval_streams=[])
        finally:
            for p in self._stage.frozen:
                p.requires_grad_(True)
        self._forget_stage(self.model)

    def _forget_stage(self, model: UnifiedModel) -> None:
        # What leads back to here would keep a finished stage's models until the collector comes by.
        self._stage, self._step = StageState(Teachers(model, {})), StepState()

    # Avalanche's seams.

    def _unpack_minibatch(self) -> None:
        images, targets, labels = self.mbatch
        # Labels stay on the host: they only say which predictor to run.
        self.mbatch = [images.to(self.device, non_blocking=True), targets.to(self.device, non_blocking=True), labels]

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Load single-task batches in the order that the seed alone decides."""
        self._sampler = InterleavedBatchSampler(self.current, self.settings)
        self._load(batch_sampler=self._sampler)

    def make_eval_dataloader(self, **kwargs: Any) -> None:
        """Load the test images in order."""
        self._load(batch_size=self.eval_mb_size)

    def _load(self, **batches: Any) -> None:
        self.dataloader = DataLoader(
            self.adapted_dataset,
            collate_fn=collate,
            pin_memory=self.device.type == "cuda",
            generator=torch.Generator(),
            **batches,
        )

    def _before_training_exp(self, **kwargs: Any) -> None:
        self.epoch = self.step = 0
        trained = sorted((d.task.randomness, self.settings.visit(d.task.name)) for d in self.current)
        seed_all(derive(self.seed, "stage", *(part for pair in trained for part in pair)))
        super()._before_training_exp(reset_optimizer_state=True, **kwargs)
        # After the plug-ins, which may have added parameters or set their rates.
        self._stage.frozen = freeze_rateless(self.optimizer)
        self.model.train()
        decay = self.settings.ema_decay
        self.average = averaged(self.model, decay) if decay else None
        if self._stage.snapshot is not None:
            # What they took from the stage's first weights, such as the teacher, they have by now.
            put_back(self, self._stage.snapshot)
        self.train_epochs = self._epochs() - self.epoch

    def make_optimizer(self, **kwargs: Any) -> None:
        """Give every parameter, those that a plug-in added included, to an optimizer without state."""
        groups = parameter_groups(self.model, self.settings.backbone_rate, self.settings.early_rate)
        regroup(self.optimizer, groups, weight_decay=self.settings.weight_decay)
        self.optimized_param_id = dict(self.model.named_parameters())

    def _before_training_epoch(self, **kwargs: Any) -> None:
        self._stage.teachers.moved_on = True
        self._sampler.epoch = self.epoch
        names = [dataset.task.name for dataset in self.current]
        for dataset in self.past:
            # What a plug-in of Avalanche's stores is a part of the past data set, and is read through it.
            dataset.draw_key, dataset.rehearsed = ("memory", *names, self.epoch), True
        for dataset in self.current:
            dataset.draw_key, dataset.rehearsed = (self.settings.visit(dataset.task.name), self.epoch), False
        self._means = RunningMeans(self.device)
        self._started = time.perf_counter()
        self._epoch_step, self._evaluated = self.step, self.evaluation_seconds
        super()._before_training_epoch(**kwargs)

    def _before_training_iteration(self, **kwargs: Any) -> None:
        self._step = StepState()
        for group in self.optimizer.param_groups:
            group["lr"] = group["scale"] * self.settings.rate(self.epoch, self.step)
        super()._before_training_iteration(**kwargs)

    def forward(self) -> Outputs:
        """Run the model once on the batch (and once on every added batch of another image size)."""
        with self.autocast():
            features = self.model.features(self.mb_x)
            outputs = self.model.outputs(features, self.mb_task_id)
            self._step.passes = [(self.mb_x, features)]
            if self.is_training:
                self._step.active.update(outputs)
                for images, targets, labels in self._step.added:
                    outputs.update(self._added_pass(images, targets, labels))
        return outputs

    def _added_pass(self, images: Tensor, targets: Targets, labels: Tensor) -> Outputs:
        with frozen_statistics(self.model):
            features = self.model.features(images)
        self._step.passes.append((images, features))
        outputs = self.model.outputs(features, labels)
        offset = len(self.mb_y)
        self.mbatch[1] = Targets([*self.mb_y, *targets])
        self._step.active.update(outputs)
        return Outputs({index: (where + offset, out) for index, (where, out) in outputs.items()})

    def criterion(self) -> Tensor:
        """Return the loss of the batch; nothing during evaluation, whose scores are the metrics."""
        if not self.is_training:
            return self._make_empty_loss()
        loss = super().criterion()
        for index, part in self._criterion.parts.items():
            self._means.add(self.model.tasks[index].name, part)
        return loss

    def backward(self) -> None:
        """Run the backward pass, with the loss scaled where the precision is float16."""
        self._means.add("total", self.loss.detach())
        self.scaler.scale(self.loss).backward(retain_graph=self.retain_graph)

    def _before_update(self, **kwargs: Any) -> None:
        """Show plug-ins the step's true gradients: unscaled, and of what it is about alone."""
        self._drop_inactive()
        self.scaler.unscale_(self.optimizer)
        super()._before_update(**kwargs)

    def _drop_inactive(self) -> None:
        """Leave without gradient, so that it keeps its bytes, what serves inactive tasks alone."""
        idle = self.model.out_of_reach(self.active)
        below, trained = ({self.model.tasks[i].owner for i in s} for s in (self._step.active_below, self._step.active))
        for owner in below - trained:
            idle = [*idle, *self.model.predictors[owner].parameters()]
        for parameter in idle:
            # None, not zero: momentum and weight decay would move a parameter whose gradient is zero.
            parameter.grad = None

    def optimizer_step(self) -> None:
        """Update what this step is about."""
        self._drop_inactive()  # again, as a plug-in may have written gradients
        # All of the model's, in its order; to walk its modules once more would take a millisecond a step.
        learnt = self.optimized_param_id.values()
        norm = torch.nn.utils.get_total_norm([p.grad for p in learnt if p.grad is not None])
        self._means.add("gradient_norm", norm)
        if self.settings.clip_norm:
            torch.nn.utils.clip_grads_with_norm_(learnt, self.settings.clip_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.step += 1
        if self.average is not None:
            self.average.update_parameters(self.model)

    @property
    def epochs_done(self) -> float:
        """How many epochs the stage has done, with the part of the one at hand."""
        inside = self.step - self._epoch_step
        return self.epoch + round(inside / len(self._sampler), 6) if inside else self.epoch

    def _after_training_iteration(self, **kwargs: Any) -> None:
        super()._after_training_iteration(**kwargs)
        every = self.settings.evaluate_steps
        if every and self.step % every == 0 and self.step - self._epoch_step < len(self._sampler):
            with swapped(self.model, self.average):
                self.eval(self.seen)

    def _after_training_epoch(self, **kwargs: Any) -> None:
        super()._after_training_epoch(**kwargs)
        means = self._means.read()
        # Only now, as reading waits for what the device has yet to do.
        seconds = time.perf_counter() - self._started - (self.evaluation_seconds - self._evaluated)
        # A loss scaler skips steps whose gradient overflows, on purpose: there only the losses must be finite.
        watched = {k: v for k, v in means.items() if k != "gradient_norm" or not self.scaler.is_enabled()}
        if not all(map(math.isfinite, watched.values())):
            raise DivergedError(f"the loss is not finite in epoch {self.epoch + 1}: {means}")
        rate = self.settings.rate(self.epoch, self.step - 1)
        self.epoch += 1
        self._epoch_step = self.step
        self.log.append({"epoch": self.epoch, "learning_rate": rate, "seconds": seconds, **means})
        last = self.epoch == self._epochs()
        if last:
            self._end()
        due = ((self.settings.evaluate_every, self.epoch), (self.settings.evaluate_steps, self.step))
        if last or any(every and done % every == 0 for every, done in due):
            with swapped(self.model, None if last else self.average):
                self.eval(self.seen)
        if not last:
            self._stage.between_epochs()

    def _after_training_exp(self, **kwargs: Any) -> None:
        with frozen_statistics(self.model):  # what was scored is kept, though a plug-in looks at the data once more
            super()._after_training_exp(**kwargs)

    def _epochs(self) -> int:
        return max(self.settings.epochs.values())

    def _end(self) -> None:
        if self.average is not None:
            self.model.load_state_dict(self.average.module.state_dict())
        for change in self._stage.endings:
            change()

    def eval(self, experiences: Any, **kwargs: Any) -> Any:
        """Score `experiences`; the random streams of training are left as they are."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # what training has queued is not evaluation's time
        started, calls = time.perf_counter(), list[None]()
        batches = sum(-(-len(e.dataset) // self.eval_mb_size) for e in experiences)
        counter = self.model.backbone.register_forward_hook(lambda *_: calls.append(None))
        try:
            with isolated():
                result = super().eval(experiences, **kwargs)
        finally:
            counter.remove()
        self.passes_per_evaluation = len(calls) / batches
        self.evaluation_seconds += time.perf_counter() - started
        return result
