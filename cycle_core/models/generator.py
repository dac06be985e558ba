"""A StyleGAN generator in pure torch: a mapping network z -> w and a synthesis network w -> image.

The mapping network is that of the StyleGAN2 papers in every architecture (the class-conditional one
is from "Training Generative Adversarial Networks with Limited Data", Karras et al. 2020); the
configuration says which synthesis network follows, `stylegan2` or `stylegan3`.
"""

from __future__ import annotations

import hashlib
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codes import Code
from ..errors import InputError, MismatchError
from .layers import ACTIVATION_GAIN, SLOPE, Linear, Synthesis, normalize
from .stylegan2 import GeneratorConfig, StyleGAN2Synthesis
from .stylegan3 import StyleGAN3Config, StyleGAN3Synthesis

Config = GeneratorConfig | StyleGAN3Config


class Generator(nn.Module):
    """mapping + synthesis. See `Mapping.forward` and `Synthesis.forward` for the shapes."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.mapping = Mapping(config)
        self.synthesis: Synthesis = (
            StyleGAN3Synthesis(config)
            if isinstance(config, StyleGAN3Config)
            else StyleGAN2Synthesis(config)
        )
        self.name = "generator"
        self._base_fingerprint: str | None = None
        self._fingerprint: tuple[object, str] | None = None

    @property
    def num_ws(self) -> int:
        return self.config.num_ws

    @property
    def w_dim(self) -> int:
        return self.config.w_dim

    @property
    def resolution(self) -> int:
        return self.config.resolution

    @property
    def w_avg(self) -> Tensor:
        """The mean of w over random z, float32 [w_dim]."""
        return self.mapping.w_avg

    @property
    def device(self) -> torch.device:
        return self.w_avg.device

    def forward(self, z: Tensor, c: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """Images of the codes of z: `synthesis(mapping(z))`."""
        return self.synthesis(self.mapping(z, c, truncation))

    def draw_inputs(self, count: int, rng: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Random inputs of `mapping`: z [count, z_dim] and, if conditional, one-hot classes.

        Drawn on the CPU, so that a seed means the same on every device."""
        z = torch.randn(count, self.config.z_dim, generator=rng).to(self.device)
        if not self.config.c_dim:
            return z, None
        classes = torch.randint(self.config.c_dim, (count,), generator=rng)
        return z, torch.eye(self.config.c_dim)[classes].to(self.device)

    @property
    def fingerprint(self) -> str:
        """16 hex digits that depend on the configuration and on every weight."""
        key = self._versions()
        if key is not None and self._fingerprint is not None and self._fingerprint[0] == key:
            return self._fingerprint[1]
        digest = hashlib.sha256(repr(self.config).encode())
        tensors = self.state_dict()
        for name in sorted(tensors):
            digest.update(name.encode())
            digest.update(tensors[name].detach().float().cpu().contiguous().numpy())
        self._fingerprint = (key, digest.hexdigest()[:16])
        return self._fingerprint[1]

    def remember_fingerprint(self, fingerprint: str) -> None:
        """Take what a file says about the weights that were just loaded from it, until they
        change: hashing 30 million of them takes longer than opening the file."""
        self._fingerprint = (self._versions(), fingerprint)

    def _versions(self) -> object:
        try:  # inference tensors have no version counter: then nothing is remembered
            return tuple((t.data_ptr(), t._version) for t in self.state_dict().values())
        except RuntimeError:
            return None

    @property
    def base_fingerprint(self) -> str:
        """Fingerprint of the generator whose latent space this is: the original's if tuned."""
        return self._base_fingerprint or self.fingerprint

    def tuned_from(self, base: Generator) -> Generator:
        """Record that this generator was tuned from `base`, so that its codes fit; gives self."""
        self._base_fingerprint = base.base_fingerprint
        return self

    def check_code(self, code: Code) -> None:
        """Raise MismatchError unless `code` lies in this generator's latent space."""
        if code.w.shape[1:] != (self.num_ws, self.w_dim):
            raise MismatchError(
                f"The code has {code.w.shape[1]} styles of {code.w.shape[2]} dimensions, but this "
                f"generator takes {self.num_ws} of {self.w_dim}: use the generator that the code "
                "was made for."
            )
        channels = sum(self.synthesis.style_channels)
        if code.offsets is not None and code.offsets.shape[1] != channels:
            raise MismatchError(
                f"The code moves {code.offsets.shape[1]} style channels, but this generator has "
                f"{channels}: use the generator that the code was made for."
            )
        if code.generator and code.generator not in (self.base_fingerprint, self.fingerprint):
            raise MismatchError(
                f"The code was made for the generator {code.generator}, but this is "
                f"{self.base_fingerprint}: load the generator that the code was made for, or "
                "encode the picture again with this one."
            )


class Mapping(nn.Module):
    """z -> w: normalised z (and class embedding) through fully connected layers."""

    w_avg: Tensor

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        lr = config.mapping_lr_multiplier
        self.embed = Linear(config.c_dim, config.w_dim) if config.c_dim else None
        width = config.z_dim + (config.w_dim if config.c_dim else 0)
        sizes = [width] + [config.w_dim] * config.mapping_layers
        self.layers = nn.ModuleList(
            Linear(i, o, lr_multiplier=lr) for i, o in itertools.pairwise(sizes)
        )
        self.register_buffer("w_avg", torch.zeros(config.w_dim))

    def forward(self, z: Tensor, c: Tensor | None = None, truncation: float = 1.0) -> Tensor:
        """z: float [B, z_dim], standard normal; c: float [B, c_dim], one-hot, if conditional.
        truncation: 1 keeps w, 0 gives the mean (W space, psi of the StyleGAN paper).
        Gives w: [B, num_ws, w_dim], the same vector num_ws times.
        Raises InputError where a shape or the class is wrong."""
        self._check(z, c)
        x = normalize(z) if self.config.normalize_z else z
        if self.embed is not None and c is not None:
            x = torch.cat([x, normalize(self.embed(c.to(x.dtype)))], dim=1)
        for layer in self.layers:
            x = _leaky_relu(layer(x))
        if truncation != 1.0:
            x = torch.lerp(self.w_avg.to(x.dtype), x, truncation)
        return x[:, None].repeat(1, self.config.num_ws, 1)  # [B, N, w_dim]

    def _check(self, z: Tensor, c: Tensor | None) -> None:
        config = self.config
        if z.ndim != 2 or z.shape[1] != config.z_dim:
            raise InputError(
                f"z has the shape {tuple(z.shape)}, but this generator takes "
                f"[batch, {config.z_dim}]."
            )
        if bool(config.c_dim) != (c is not None):
            raise InputError(
                f"This generator has {config.c_dim} classes: "
                + ("give a one-hot class vector c." if config.c_dim else "leave the class c out.")
            )
        if c is not None and c.shape != (z.shape[0], config.c_dim):
            raise InputError(
                f"The class vector has the shape {tuple(c.shape)}, but "
                f"[{z.shape[0]}, {config.c_dim}] is needed."
            )


def _leaky_relu(x: Tensor) -> Tensor:
    return F.leaky_relu(x, SLOPE) * ACTIVATION_GAIN
