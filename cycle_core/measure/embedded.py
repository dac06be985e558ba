"""The measuring networks that come with the package, each trained from a seed of its own.

Role "loss" is what trainings, refinement and tuning minimise; "metrics" is in no loss, and compares
pictures; "reading", perceptual alone, is in no loss and no distance, and reads what an edit did."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from ..checkpoints.building import build
from ..checkpoints.native import read_model
from ..errors import CheckpointError, InputError

ROLES = ("loss", "metrics")  # of those that compare
Network = TypeVar("Network", bound=nn.Module)


def load_network(kind: str, name: str | Path, make: Callable[[dict[str, Any]], Network]) -> Network:
    """The network of a kind ("perceptual" or "identity") of a file or an embedded name, on the CPU,
    frozen.

    make: its class, from the file's configuration. Raises MissingFileError, CheckpointError."""
    config, state, _ = read_model(name, kind)
    try:
        network = make(config)
    except TypeError as error:
        raise CheckpointError(
            f"The model {name} has a configuration that this version does not know "
            f"({error}): install the project again."
        ) from error
    build(network, state, name)
    return network


def check_choice(what: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InputError(f"The {what} of a network is one of {', '.join(known)}, not {given!r}.")
