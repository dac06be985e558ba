"""Latent codes: an encoder gives them, directions move them, generators draw them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from .errors import CheckpointError, InputError

SPACES = ("W", "W+")
MOST_STYLES = 64  # a table with more rows is no code; StyleGAN2 has 18 styles at 1024


@dataclass(frozen=True)
class Code:
    """A batch of latent codes of one generator.

    w: float32 [B, num_ws, w_dim]; in space "W" the num_ws vectors of a row are equal.
    space: "W" or "W+" (METHOD: all deltas zero, or not).
    generator: fingerprint of the generator whose space this is ("" if unknown).
    stage: the encoder stage that made it (0 is W, num_ws - 1 is all of W+), None if no encoder did.
    offsets: float32 [B, channels], what edits in StyleSpace add to the styles that the generator
        makes of w (see `Synthesis.style_layers`); None if there were none.
    """

    w: torch.Tensor
    space: str
    generator: str = ""
    stage: int | None = None
    offsets: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.w.ndim != 3:
            raise InputError(
                f"A code has the shape [batch, styles, dimensions], but {tuple(self.w.shape)} was "
                "given: add the missing axis or take codes from `encode`."
            )
        if self.space not in SPACES:
            raise InputError(f'The space of a code is "W" or "W+", not {self.space!r}.')
        if self.offsets is not None and (
            self.offsets.ndim != 2 or len(self.offsets) != len(self.w)
        ):
            raise InputError(
                f"The style offsets have the shape {tuple(self.offsets.shape)}, but "
                f"[{len(self.w)}, channels] is expected: give one row for each code."
            )

    @property
    def batch(self) -> int:
        return self.w.shape[0]

    def with_w(self, w: torch.Tensor, space: str | None = None) -> Code:
        """The same code with other vectors (and, if given, another space)."""
        return replace(self, w=w, space=space or self.space)

    def one(self, index: int) -> Code:
        """The code at `index` alone, as a batch of one. Raises InputError where there is none."""
        if not 0 <= index < self.batch:
            raise InputError(
                f"There is no code number {index}: the batch has {self.batch}, counted from 0."
            )
        offsets = None if self.offsets is None else self.offsets[index : index + 1]
        return replace(self, w=self.w[index : index + 1], offsets=offsets)

    def to(self, device: torch.device | str) -> Code:
        offsets = None if self.offsets is None else self.offsets.to(device)
        return replace(self, w=self.w.to(device), offsets=offsets)


class HasCode(Protocol):
    """What carries a code, such as the result of `refine`."""

    @property
    def code(self) -> Code: ...


def as_code(code: Code | HasCode) -> Code:
    """The code itself, or the one that the result of a step carries."""
    return code if isinstance(code, Code) else code.code


def save_code(
    code: Code | HasCode, path: str | Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write a code as safetensors (kind "code"), atomically and without loss.

    metadata: further entries for the file's header, such as the workflow that made it.
    Raises InputError where the file cannot be written or the code is not finite."""
    from .checkpoints.native import save_model  # here: it imports the generator, which imports this

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
    from .checkpoints.native import read_model

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
    from .checkpoints.lazy_tensors import StoredTensor

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
    from .checkpoints.reading import load_all, read_file, reported
    from .checkpoints.unsupported import described

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
