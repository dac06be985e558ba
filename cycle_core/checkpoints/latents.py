"""Codes in files: our own, and the latents of other projects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..codes import MOST_STYLES, Code, HasCode, as_code
from ..errors import CheckpointError, InputError
from .lazy_tensors import StoredTensor, is_numbers
from .native import NATIVE, is_native, model_of, save_model
from .reading import Contents, Format, load_all, read_file, refusal, reported
from .unsupported import described


def save_code(
    code: Code | HasCode, path: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a code as safetensors (kind "code"), atomically and without loss.

    metadata: further entries for the file's header, such as the workflow that made it.
    Raises InputError where the file cannot be written or the code is not finite."""
    code = as_code(code)
    if not all(bool(torch.isfinite(x).all()) for x in (code.w, code.offsets) if x is not None):
        raise InputError(
            "The code holds values that are not finite numbers and was not saved: look at the "
            "picture or the model that it came from."
        )
    state = {"w": code.w.float()}
    if code.offsets is not None:
        state["offsets"] = code.offsets.float()
    save_model(path, "code", header_of(code), state, metadata)


def load_code(path: str | Path, device: torch.device | str = "cpu") -> Code:
    """Open codes: a file that `save_code` wrote, or the latents of another project.

    Others are tensors [N, w_dim] or [B, N, w_dim], one or a table or list of them: pivots of PTI
    and STIT, latents of e4e, ReStyle and HyperStyle, files of NVIDIA's and rosinality's projectors.
    What a file is follows from its content, not from its ending. They are in W where the styles are
    all equal, else in W+; their generator is not known. Whether a code fits a generator is checked
    where both meet.
    Raises MissingFileError, and CheckpointError for a damaged file or one that is no code."""
    return _load(read_file(path, strict=False)).to(device)


def header_of(code: Code) -> dict[str, Any]:
    """What a file says of the codes in it."""
    origin = {"origin": code.origin} if code.origin else {}
    return {"space": code.space, "generator": code.generator_id, "stage": code.stage, **origin}


def code_of(header: Mapping[str, Any], w: Tensor, offsets: Tensor | None = None) -> Code:
    """The codes of which `header_of` was written. Raises InputError and KeyError for another."""
    generator, stage, origin = header["generator"], header["stage"], header.get("origin", "")
    if type(generator) is not str or type(origin) is not str:
        raise InputError("its generator is no name")
    if type(stage) not in (int, type(None)):
        raise InputError("its stage is no number")
    return Code(w, header["space"], generator, stage, offsets, origin)


def _read_ours(contents: Contents) -> Code:
    config, state, _ = model_of(contents, "code")
    try:
        return code_of(config, state["w"], state.get("offsets"))
    except (KeyError, InputError) as error:
        raise CheckpointError(
            f"{contents.path} does not hold a whole code ({error}): it is damaged; save the code "
            "again."
        ) from error


def latents_in(content: Any) -> list[Any]:
    """The codes in what `read_file` gives of another project's file: StoredTensors [N, w_dim] or
    [B, N, w_dim] of one generator; none if it holds anything else."""
    if isinstance(content, StoredTensor) and content.items is not None and not content.shape:
        content = content.items[0]  # a .npy that holds a dict
    if isinstance(content, dict):
        named = [content[name] for name in _NAMES if _is_latent(content.get(name))]
        content = named[:1] or [_last(value) for value in content.values()]
    entries = list(content) if isinstance(content, list | tuple) else [content]
    same = all(map(_is_latent, entries)) and len({x.shape[-2:] for x in entries}) == 1
    return entries if same else []


# where projects keep the codes among other things: NVIDIA's projector, STIT, rosinality's projector
_NAMES = ("w", "latent", "latents", "pivots", "wp", "w_plus", "codes")


def _last(value: Any) -> Any:
    """The code of one picture: ReStyle keeps one for each iteration, rosinality's projector the
    noise maps beside it."""
    if isinstance(value, dict):
        return next((value[name] for name in _NAMES if name in value), None)
    return value[-1] if isinstance(value, list | tuple) and value else value


def _is_latent(entry: object) -> bool:
    return (
        is_numbers(entry)
        and entry.ndim in (2, 3)
        and 1 < entry.shape[-2] <= MOST_STYLES
        and 0 not in entry.shape
    )


def _read_latents(contents: Contents) -> Code:
    path, entries = contents.path, latents_in(contents.data)
    if contents.unknown:
        raise CheckpointError(refusal(contents))
    if not entries:
        with reported(path):
            what = described(contents)
        raise CheckpointError(
            f"{path} holds {what} and no codes: numbers of the shape [styles, dimensions] or "
            "[batch, styles, dimensions] are expected, all of one generator; a single w is "
            "repeated for each style."
        )
    with reported(path):
        w = torch.cat([x.float().reshape(-1, *x.shape[-2:]) for x in load_all(entries)])
    if not bool(torch.isfinite(w).all()):
        raise CheckpointError(
            f"{path} holds values that are not finite numbers: the inversion that wrote it went "
            "wrong; invert the picture again."
        )
    return Code(w, "W" if torch.equal(w, w[:, :1].expand_as(w)) else "W+")


# ------------------------------------------------------------------ as formats among others
def _load(contents: Contents) -> Code:
    return _read_ours(contents) if contents.metadata.get("kind") else _read_latents(contents)


def _describe(code: Code) -> dict[str, Any]:
    _, styles, dimensions = code.w.shape
    return {
        "codes": code.batch,
        "styles": styles,
        "dimensions": dimensions,
        "space": code.space,
        "generator": code.generator_id or "not known",
        **({"made for": code.origin} if code.origin else {}),
    }


FORMATS = (
    Format(NATIVE, "code", is_native("code"), _load, _describe),
    Format(
        "PTI, STIT, e4e, ReStyle, HyperStyle, projectors of NVIDIA and rosinality",
        "code",
        lambda contents: "kind" not in contents.metadata and bool(latents_in(contents.data)),
        _load,
        _describe,
    ),
)
