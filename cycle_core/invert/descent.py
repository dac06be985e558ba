"""The loop of refinement, projection and tuning: gradient descent that keeps the best state."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..codes import Code
from ..errors import InputError
from ..models.generator import Generator
from ..runtime.devices import say_once
from ..runtime.progress import Callback
from .objective import LossValues, Terms

Report = Callable[[int, Tensor], object]  # (step from 1, preview [B,3,R,R])


@dataclass(frozen=True)
class Evaluation:
    """What the parameters of a step give.

    terms: the losses, one row for each picture, or one for all where they share the parameters.
    image: float [B,3,R,R], what the generator renders. state: the tensors that render it again; of
    several rows, each tensor has as many."""

    terms: Terms
    image: Tensor
    state: Sequence[Tensor]


@dataclass(frozen=True)
class Descent:
    """The best step of each row: its number, what it rendered, and the state.

    history: for each row, the losses before each step and after the last one."""

    best_steps: list[int]
    image: Tensor
    state: list[Tensor]
    history: list[list[LossValues]]

    @property
    def steps(self) -> int:
        """How many were made."""
        return len(self.history[0]) - 1

    @torch.no_grad()
    def restore(self, parameters: Sequence[Tensor]) -> None:
        """Put the best state into the parameters that it is of."""
        for parameter, value in zip(parameters, self.state, strict=True):
            parameter.copy_(value)

    def followed_by(self, other: Descent) -> Descent:
        """Both as one, of one row, where the other began with the best state of this."""
        further = other.best_steps[0]
        history = self.history[0] + other.history[0][1:]
        if not further:
            return Descent(self.best_steps, self.image, self.state, [history])
        return Descent([self.steps + further], other.image, other.state, [history])


@dataclass(frozen=True)
class Inversion:
    """What `refine` and `project` give.

    code: the pivot, of as many rows as pictures were given.
    image: float32 [B,3,R,R] in [-1,1], what the generator renders of it.
    history: for each picture the losses before each step and after the last one
        (total, l2, lpips, identity); the pivot is of the step with the smallest total.
    """

    code: Code
    image: Tensor
    history: tuple[tuple[LossValues, ...], ...]

    @staticmethod
    def of(
        found: Sequence[Descent],
        space: str,
        G: Generator,
        stage: int | None = None,
        origin: str = "",
    ) -> Inversion:
        """The best states of some descents, each of which is a code."""
        w = torch.cat([one.state[0] for one in found])
        image = torch.cat([one.image for one in found]).clamp(-1, 1)
        history = tuple(tuple(log) for one in found for log in one.history)
        code = Code(w, space, G.base_fingerprint, stage, origin=origin)
        return Inversion(code, image, history)


def descend(
    evaluate: Callable[[int, bool], Evaluation],
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    before_update: Callable[[int], object] = lambda step: None,
    enough: Callable[[LossValues], bool] = lambda losses: False,
    report: Report = lambda step, preview: None,
) -> Descent:
    """Update the parameters `steps` times and keep the state of the smallest total loss.

    evaluate(step, backward): the state before a step, whose gradients it adds if `backward`; it is
    called once more after the last step, without. before_update(step): adds further gradients, or
    sets the rate. enough(losses): whether to stop, by the losses of every row.
    report(step, preview):
    after each update; what it raises ends this.
    Raises InputError where the losses are not numbers from the start."""
    best: list[int] = []
    kept: list[Tensor] = []
    history: list[list[LossValues]] = []
    for step in range(steps + 1):
        last = step == steps
        optimizer.zero_grad(set_to_none=True)
        with torch.set_grad_enabled(not last):
            now = evaluate(step, not last)
        losses = now.terms.rows()  # here the host waits for the device, once in a step
        tensors = [now.image.detach(), *(tensor.detach() for tensor in now.state)]
        if step == 0:
            _check_start(losses)
            best, history = [0] * len(losses), [[] for _ in losses]
            kept = [tensor.clone() for tensor in tensors]
        for row, (log, found) in enumerate(zip(history, losses, strict=True)):
            if log and found["total"] < log[best[row]]["total"]:
                best[row] = step
                for to, tensor in zip(kept, tensors, strict=True):
                    if len(losses) == 1:
                        to.copy_(tensor)
                    else:
                        to[row].copy_(tensor[row])
            log.append(found)
        if all(math.isnan(found["total"]) for found in losses):
            say_once(
                f"The losses were not numbers after {step} steps: the best state before counts."
            )
            break
        if last or all(map(enough, losses)):
            break
        before_update(step)
        optimizer.step()
        report(step + 1, now.image.detach())
    optimizer.zero_grad(set_to_none=True)
    return Descent(best, kept[0], kept[1:], history)


def _check_start(losses: Sequence[LossValues]) -> None:
    for row, found in enumerate(losses, 1):
        if math.isnan(found["total"]):
            which = f" for picture {row} of {len(losses)}" if len(losses) > 1 else ""
            raise InputError(
                f"It began with a loss that is not a number{which}: the models hold unusable "
                "weights or the picture unusable values; load them again."
            )


def reporter(callback: Callback | None, done: int, total: int) -> Report:
    """Reports steps that follow `done` others to a callback, of `total` in all."""

    def report(step: int, preview: Tensor) -> None:
        if callback is not None:
            callback(done + step, total, preview)

    return report
