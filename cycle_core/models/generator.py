"""A StyleGAN generator in pure torch: a mapping network z -> w and a synthesis network w -> image.

The mapping network is that of the StyleGAN2 papers in every architecture (the class-conditional one
is from "Training Generative Adversarial Networks with Limited Data", Karras et al. 2020); the
configuration says which synthesis network follows, `stylegan2` or `stylegan3`.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..codes import Code
from ..errors import InputError, MismatchError
from .fingerprints import fingerprint, same, short
from .layers import Linear, leaky_relu, normalize
from .stylegan2 import StyleGAN2Config, StyleGAN2Synthesis
from .stylegan3 import StyleGAN3Config, StyleGAN3Synthesis
from .synthesis import Synthesis

Config = StyleGAN2Config | StyleGAN3Config


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
        self.notes: tuple[str, ...] = ()  # what its file did not hold, for `inspect`
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
        return z, F.one_hot(classes, self.config.c_dim).float().to(self.device)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of its pictures."""
        return self.config.image_shape

    @property
    def fingerprint(self) -> str:
        """A text that follows from the configuration and every weight; see `fingerprints`."""
        key = self._versions()
        if key is None or self._fingerprint is None or self._fingerprint[0] != key:
            self._fingerprint = (key, fingerprint(self.config, self.state_dict()))
        return self._fingerprint[1]

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
        return self.in_space(base.base_fingerprint)

    def in_space(self, fingerprint: str) -> Generator:
        """`tuned_from` by a fingerprint, "" for its own."""
        self._base_fingerprint = fingerprint or None
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
        if code.generator_id and not self.has_space_of(code.generator_id):
            raise MismatchError(
                f"The code was made for the generator {short(code.generator_id)}, but this is "
                f"{short(self.base_fingerprint)}: load the generator that the code was made for, "
                "encode the picture again with this one, or, if one was trained from the other, "
                "take the code as it is (`same_space`)."
            )

    def has_space_of(self, fingerprint: str) -> bool:
        """Whether a fingerprint is of this generator, of the one that it was tuned from, or of one
        with the same weights."""
        return same(fingerprint, self.base_fingerprint) or same(fingerprint, self.fingerprint)


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
            x = leaky_relu(layer(x))
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
