"""Several processes that work as one: torchrun starts them and gives each one a number, its rank.

    torchrun --nproc-per-node 4 -m cycle_core.cli train encoder ...

A program is written once. In a single process, and outside of `processes`, every function here
gives back what it was given and costs nothing. What lies on GPUs travels by NCCL where torch has
it, everything else by gloo.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import CycleError, InputError

Item = TypeVar("Item")
PATIENCE = timedelta(hours=1)  # for the slowest process; torchrun notices those that died at once


def rank() -> int:
    """The number of this process, from 0 on. Only process 0 writes files and messages."""
    return dist.get_rank() if _several() else 0


def world_size() -> int:
    """The number of processes."""
    return dist.get_world_size() if _several() else 1


@contextlib.contextmanager
def processes(device: str = "auto") -> Iterator[None]:
    """Join the processes that torchrun started, if it did, for as long as the block runs.

    device: as the user named it. On GPUs each process has its own, which is "cuda" in the block.
    An error that ends the block is reported once: what `raise_everywhere` raises in all processes
    by the first one, any other error by the process that had it first. The rest raise SystemExit.
    Raises InputError where there are fewer GPUs than processes."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or _several():
        yield
        return
    from torch.distributed.rendezvous import rendezvous

    store, number, count = next(rendezvous("env://", timeout=PATIENCE))
    if os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]:
        # torchrun keeps one store over restarts, in which the addresses of the dead are left
        store = dist.PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT')}", store)
    backend = "cpu:gloo,cuda:nccl" if dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=PATIENCE)
    try:
        with raise_everywhere():
            _take_gpu(device)
        yield
    except CycleError:  # all processes have it
        if number:
            _leave(2)
        raise
    except (Exception, KeyboardInterrupt):
        if not _is_first(store):  # only lost the connection to the one that failed
            _leave(1)
        raise
    dist.destroy_process_group()


@contextlib.contextmanager
def raise_everywhere() -> Iterator[None]:
    """A CycleError of the block in one process is raised in all, so that none waits in vain.

    All processes enter it equally often. Nothing in the block may wait for another process."""
    if not _several():
        yield
        return
    error = None
    try:
        yield
    except CycleError as caught:
        error = caught
    failed = torch.tensor(int(error is not None))
    dist.all_reduce(failed)
    if failed:
        errors = everywhere(error)
        raise error or next(filter(None, errors))


# ------------------------------------------------------------------ dividing and bringing together
def own_part(batch: Tensor) -> Tensor:
    """The rows of a global batch [B, ...] that are this process's, [B / world_size, ...]."""
    size = len(batch) // world_size()
    return batch[rank() * size : (rank() + 1) * size]


def own_items(items: Sequence[Item]) -> Sequence[Item]:
    """Those of many items that are this process's: together the processes have each one once."""
    return items[rank() :: world_size()]


def claim(items: Sequence[Item], name: str) -> Iterator[Item]:
    """Items one after the other, each in that process alone which is free first.

    items: the same in all processes. name: of this list; each list that is divided has its own."""
    if not _several():
        yield from items
        return
    store = dist.distributed_c10d._get_default_store()
    while (place := store.add(name, 1) - 1) < len(items):
        yield items[place]


def check_divides(batch: int, parts: int = 1) -> None:
    """Raise InputError unless a global batch divides into `parts` for every process."""
    count = world_size()
    if parts < 1 or batch % (count * parts):
        raise InputError(
            f"A batch of {batch} cannot be divided into {parts} parts for each of {count} "
            f"processes: give a batch that is a multiple of {count * max(parts, 1)}."
        )


def gather(part: Tensor) -> Tensor:
    """The parts [B, ...] of all processes in their order, [B * world_size, ...], in every process.

    Gradients flow back to each part, summed over what all processes make of it."""
    return _Gather.apply(part) if _several() else part


def everywhere(value: Any) -> list[Any]:
    """What every process gives, any object that can be pickled, in the order of the processes."""
    values = [value] * world_size()
    if _several():
        dist.all_gather_object(values, value)
    return values


def mean(values: Mapping[str, float]) -> dict[str, float]:
    """The means over the processes of named numbers, which have the same names in all."""
    if not _several():
        return dict(values)
    total = torch.tensor(list(values.values()), dtype=torch.float64)
    dist.all_reduce(total)
    return dict(zip(values, (total / world_size()).tolist(), strict=True))


# ------------------------------------------------------------------ models
def replicate(model: nn.Module) -> nn.Module:
    """The same model in all processes, for training: to be called in place of `model`.

    After a backward pass of the local mean, `model` has the gradients of the global mean; those of
    parameters that no process used stay None. Its batch norms see the batches of all processes."""
    if not _several():
        return model
    if next(model.parameters()).is_cuda:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    else:
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = _GlobalBatchNorm2d
    return nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one message.

    For models without batch norms whose losses take several passes or second derivatives, which
    `replicate` does not know. All processes must have gradients of the same parameters."""
    if not _several():
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    parts = (flat / world_size()).split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


class _GlobalBatchNorm2d(nn.BatchNorm2d):
    """`nn.SyncBatchNorm` for CPUs, which torch's refuses: the statistics are those of the batches
    of all processes, of equal sizes."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        x = input.float()
        variance, mean = torch.var_mean(x, dim=(0, 2, 3), correction=0)  # [C] each
        stats = gather(torch.stack([mean, variance])[None])  # [world_size, 2, C]
        mean = stats[:, 0].mean(0)
        variance = stats[:, 1].mean(0) + stats[:, 0].var(0, correction=0)
        count = x.numel() // x.shape[1] * len(stats)
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.detach(), self.momentum)
        unbiased = variance.detach() * (count / max(count - 1, 1))
        self.running_var.lerp_(unbiased, self.momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None]).to(input.dtype)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        part = part.contiguous()
        parts = [torch.empty_like(part) for _ in range(world_size())]
        dist.all_gather(parts, part)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return own_part(gradient)


# ------------------------------------------------------------------ helpers
def _several() -> bool:
    return dist.is_available() and dist.is_initialized()


def _take_gpu(device: str) -> None:
    if not torch.cuda.is_available() or device not in ("auto", "cuda"):
        return
    local, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if local >= gpus:
        raise InputError(
            f"There are more processes than the {gpus} GPUs of this machine: start {gpus}, or "
            "choose the device cpu."
        )
    torch.cuda.set_device(local)


def _leave(code: int) -> NoReturn:
    """End this process without a word, after the one that reports the error had time to do so:
    torchrun stops all processes as soon as one of them has ended."""
    with contextlib.suppress(KeyboardInterrupt):
        time.sleep(10)
    raise SystemExit(code)


def _is_first(store: dist.Store) -> bool:
    """Whether this is the first process that fails."""
    try:
        return store.add("failed", 1) == 1
    except RuntimeError:  # the store went with the process that failed
        return False
