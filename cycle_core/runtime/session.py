"""What refinement, projection, tuning and trainings need of the machine: gradients, threads and
memory inside of a host, and copies of networks, so that those of the caller stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..errors import InputError
from .devices import one_thread_if_small, out_of_memory, release, say_once

S = TypeVar("S")
T = TypeVar("T")
Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def optimising(*networks: object) -> Iterator[None]:
    """Gradients are computed, also where the host runs this in inference mode as ComfyUI does.
    Small networks get one thread (`devices.one_thread_if_small`)."""
    with torch.inference_mode(False), torch.enable_grad(), one_thread_if_small(*networks):
        yield


def like_weights(tensor: Tensor, network: nn.Module) -> Tensor:
    """A copy that can take part in a backward pass, with the device and dtype of the weights."""
    weight = next(network.parameters())
    return tensor.detach().to(weight.device, weight.dtype).clone()


def trainable_copy(module: Module) -> Module:
    """A copy that shares nothing with the module, in evaluation mode, every parameter trainable.

    Call it with inference mode off: the copy can then be trained, and be differentiated through,
    even where the module was loaded in inference mode."""
    twin = copy.deepcopy(module).eval()
    for part in twin.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(parameter.detach().clone()))
        for name, buffer in list(part.named_buffers(recurse=False)):
            setattr(part, name, buffer.detach().clone())
    return twin


def frozen(module: Module) -> Module:
    """The module itself where one can differentiate through it at no needless cost, else a copy
    without gradients: the caller's module is never changed."""
    tensors = [*module.parameters(), *module.buffers()]
    if any(t.is_inference() or t.requires_grad for t in tensors) or module.training:
        return trainable_copy(module).requires_grad_(False)
    return module


def frozen_copy(model: Any) -> Any:
    """A copy of a module without gradients, channels last; what is no module is given as it is."""
    if not isinstance(model, nn.Module):
        return model
    return channels_last(copy.deepcopy(model).eval().requires_grad_(False))


def channels_last(module: Module) -> Module:
    """The module itself: convolutions are faster in this layout on CPUs and GPUs alike."""
    return module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def retry_on_oom(
    run: Callable[[S], T], attempts: Iterable[S], device: torch.device, doing: str
) -> T:
    """run(settings) for the first of ever more sparing settings for which the memory is enough.

    doing: what it is not enough for, such as "tune this generator". Raises InputError then."""
    for number, settings in enumerate(attempts):
        if number:
            say_once(
                f"The memory of {device} is too small to {doing} so: it begins again with less."
            )
        try:
            return run(settings)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
        release(device)  # here, where the error no longer holds what it was about
    otherwise = "" if device.type == "cpu" else ", or let the CPU do it (ComfyUI: --cpu)"
    raise InputError(
        f"The memory of {device} is not enough to {doing}: close other programs that use it, or "
        f"choose a smaller generator{otherwise}."
    )


def smaller_batches(batch: int, most: int) -> list[int]:
    """Batches for `retry_on_oom`: the wanted one, half of what it holds of `most`, and 1."""
    most = min(batch, most)
    return [batch, *(less for less in dict.fromkeys((most // 2, 1)) if 0 < less < most)]
