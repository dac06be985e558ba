"""Settings of generating, sampling and blending; no heavy import, so that commands and nodes can
show them."""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime.settings import setting

NOISE_MODES = ("const", "random", "none")


@dataclass(frozen=True)
class GenerateSettings:
    """Of `generate`."""

    truncation: float = setting(1.0, "1 renders the code itself, 0 the mean face", low=0, high=2)
    noise: str = setting("const", "the maps behind fine detail", choices=NOISE_MODES)


@dataclass(frozen=True)
class SampleSettings:
    """Of `sample`. label: None takes random ones."""

    count: int = setting(16, "pictures", low=1, high=1_000_000)
    truncation: float = setting(0.7, "1 gives the whole variety, 0 the mean face")
    label: int | None = setting(None, "the class", low=0, high=100_000)


@dataclass(frozen=True)
class BlendSettings:
    """Of `blend`."""

    amount: float = setting(
        1.0, "of the second in the layers that are blended: 1 swaps them, 0.5 is halfway",
        low=0, high=1,
    )  # fmt: skip
