"""A tuned generator as a small file: what tuning changed, and of which generator."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from ..checkpoints.latents import code_of, header_of
from ..checkpoints.native import read_model, save_model
from ..errors import CheckpointError, InputError, MismatchError
from ..models.fingerprints import same, short
from ..models.generator import Generator
from ..models.same_space import adopt
from ..runtime.session import trainable_copy
from .generate import generate
from .tune import Tuned


def save_tuned(
    tuned: Tuned,
    path: str | Path,
    original: Generator | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the synthesis weights that tuning changed, and the pivot, as safetensors (kind
    "delta"): the mapping network and the noise stay with the original generator's file.

    original: None stores the weights as they are and loses no bit. With the generator that was
        tuned, the differences from it are stored in half precision: half the size, and pictures
        that differ by less than 1e-3.
    metadata: further entries for the file's header, such as the workflow that made it.
    Raises InputError where the file cannot be written, MismatchError for another original."""
    synthesis = tuned.generator.synthesis
    weights = {name: p.detach() for name, p in synthesis.named_parameters()}
    if original is not None:
        if not same(original.fingerprint, tuned.original):
            raise MismatchError(_other(original, tuned.original))
        before = dict(original.synthesis.named_parameters())
        changes = {name: p - before[name].to(p) if name in before else p
                   for name, p in weights.items()}  # fmt: skip
        weights = {name: change.half() for name, change in changes.items()}
    config = {
        "original": tuned.original,
        "difference": original is not None,
        **header_of(tuned.pivot),
        "history": tuned.history,
        "best": tuned.best,
        "detail_at": synthesis.detail_at,
    }
    codes = {"pivot.w": tuned.pivot.w.float()}
    if synthesis.detail_code is not None:
        codes["detail.code"] = synthesis.detail_code.float()
    save_model(path, "delta", config, {**weights, **codes}, metadata)


def load_tuned(path: str | Path, generator: Generator, same_space: bool = False) -> Tuned:
    """Put a file that `save_tuned` wrote onto the original generator, on the original's device.

    The original is copied, not changed.
    same_space: put it onto another generator of the same shape, such as one that was fine-tuned
        from the original: what tuning changed is added to its weights.
    Raises MismatchError where the file was tuned from another generator, MissingFileError, and
    CheckpointError for a damaged file."""
    config, state, _ = read_model(path, "delta")
    try:
        if not same_space and not same(config["original"], generator.fingerprint):
            raise MismatchError(f"{path}: " + _other(generator, config["original"]))
        w = state.pop("pivot.w").to(generator.device)
        pivot = code_of(config, w)
        pivot = adopt(pivot, generator) if same_space else pivot
        with torch.inference_mode(False):
            tuned = trainable_copy(generator).requires_grad_(False).tuned_from(generator)
            if "detail" in state and tuned.synthesis.detail is None:
                values = torch.zeros_like(state["detail"], device=generator.device)
                tuned.synthesis.put_detail(config["detail_at"], values).requires_grad_(False)
            code = state.pop("detail.code", None)  # files of before know no detail that moves
            if code is not None and code.shape != (1, generator.num_ws, generator.w_dim):
                raise ValueError(f"the detail's code has the shape {list(code.shape)}")
            tuned.synthesis.detail_code = None if code is None else code.to(w)
            weights = dict(tuned.synthesis.named_parameters())
            if weights.keys() != state.keys():
                raise KeyError("other weights than the generator's")
            for name, weight in weights.items():
                change = state[name].to(weight)
                if change.shape != weight.shape:  # it might spread over all of the weight
                    raise ValueError(f"{name} has the shape {list(change.shape)}")
                weight.copy_(weight + change if config["difference"] else change)
        losses = (dict(step).items() for step in config["history"])
        history = tuple({name: float(loss) for name, loss in step} for step in losses)
        best = int(config["best"])
        if not 0 <= best < len(history):
            raise ValueError(f"no step {best}")
    except (KeyError, TypeError, ValueError, OverflowError, RuntimeError, InputError) as error:
        raise CheckpointError(
            f"{path} does not hold a whole tuned generator ({error}): it is damaged; tune again."
        ) from error
    return Tuned(tuned, pivot, generate(tuned, pivot), history, best, config["original"])


def _other(generator: Generator, needed: str) -> str:
    return (
        f"This was tuned from the generator {short(needed)}, but {short(generator.fingerprint)} "
        f"({generator.name}) was given: load the generator that was tuned."
    )
