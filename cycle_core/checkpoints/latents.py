"""Codes in files: our own, and the latents of other projects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..codes import MOST_STYLES, Code, HasCode, as_code
from ..errors import CheckpointError, InputError
from .lazy_tensors import StoredTensor
from .native import NATIVE, is_native, read_model, save_model
from .reading import Contents, load_all, read_file, reported
from .registry import Format
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
    config = {"space": code.space, "generator": code.generator, "stage": code.stage}
    state = {"w": code.w.float()}
    if code.offsets is not None:
        state["offsets"] = code.offsets.float()
    save_model(path, "code", config, state, metadata)


def load_code(path: str | Path, device: torch.device | str = "cpu") -> Code:
    """Open codes: a file that `save_code` wrote, or the latents of another project.

    Others are tensors [N, w_dim] or [B, N, w_dim], one or a table or list of them, in a .pt, .pth,
    .npy or .npz file: pivots of PTI, latents of e4e, `projected_w.npz` of NVIDIA's projector. They
    are in W where the styles are all equal, else in W+; their generator is not known. Whether a
    code fits a generator is checked where both meet.
    Raises MissingFileError, and CheckpointError for a damaged file or one that is no code."""
    path = Path(path)
    foreign = path.suffix in (".pt", ".pth", ".npy", ".npz") and path.is_file()
    return (_read_latents(path) if foreign else _read_ours(path)).to(device)


def _read_ours(path: Path) -> Code:
    config, state, _ = read_model(path, "code")
    try:
        if type(config["generator"]) is not str or type(config["stage"]) not in (int, type(None)):
            raise InputError("its generator and its stage are a name and a number")
        return Code(
            state["w"],
            config["space"],
            config["generator"],
            config["stage"],
            state.get("offsets"),
        )
    except (KeyError, InputError) as error:
        raise CheckpointError(
            f"{path} does not hold a whole code ({error}): it is damaged; save the code again."
        ) from error


def latents_in(content: Any) -> list[Any]:
    """The codes in what `read_file` gives of another project's file: StoredTensors [N, w_dim] or
    [B, N, w_dim] of one generator; none if it holds anything else."""

    def is_latent(entry: object) -> bool:
        return (
            isinstance(entry, StoredTensor)
            and entry.dtype is not None
            and entry.dtype.is_floating_point
            and entry.ndim in (2, 3)
            and 1 < entry.shape[-2] <= MOST_STYLES
            and 0 not in entry.shape
        )

    if isinstance(content, dict):
        content = [content["w"]] if "w" in content else list(content.values())
    entries = list(content) if isinstance(content, list | tuple) else [content]
    same = all(map(is_latent, entries)) and len({x.shape[-2:] for x in entries}) == 1
    return entries if same else []


def _read_latents(path: Path) -> Code:
    contents = read_file(path)
    entries = latents_in(contents.data)
    if not entries:
        raise CheckpointError(
            f"{path} holds {described(contents)} and no codes: numbers of the shape [styles, "
            "dimensions] or [batch, styles, dimensions] are expected, all of one generator; a "
            "single w is repeated for each style."
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
    return load_code(contents.path)


def _is_foreign(contents: Contents) -> bool:
    return contents.container != "safetensors" and bool(latents_in(contents.data))


def _describe(code: Code) -> dict[str, Any]:
    _, styles, dimensions = code.w.shape
    return {
        "codes": code.batch,
        "styles": styles,
        "dimensions": dimensions,
        "space": code.space,
        "generator": code.generator or "not known",
    }


FORMATS = (
    Format(NATIVE, "code", is_native("code"), _load, _describe),
    Format("PTI, e4e, NVIDIA's projector", "code", _is_foreign, _load, _describe),
)
