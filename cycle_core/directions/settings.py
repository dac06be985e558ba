"""The settings of finding directions, without a heavy import."""

from __future__ import annotations

from dataclasses import dataclass

from ..runtime.settings import setting

METHODS = ("ganspace", "sefa")


@dataclass(frozen=True)
class DiscoverySettings:
    """Of `component_of`."""

    method: str = setting("ganspace", "how components are found", choices=METHODS)
    samples: int = setting(10_000, "random codes that ganspace looks at", low=100, high=1_000_000)
