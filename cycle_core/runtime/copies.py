"""Copies of networks, to be trained or differentiated through: the caller's stay as they are."""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


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
