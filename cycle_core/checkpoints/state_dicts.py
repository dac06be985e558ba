"""The state dicts in a file, under whatever names people and programs put around them.

    found = find(contents, "style.1.weight", "input.input")
    found.prefix, found.tensors["style.1.weight"]      # "decoder.", StoredTensor

One rule for all of them: every dictionary of tensors up to two levels deep is looked at, the names
that wrappers insert are taken out (`module.`, `_orig_mod.`, ...), and what stands before the names
that are asked for is a prefix. Where several fit, the average of the weights is taken first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .lazy_tensors import Damaged, PersistentObject, StoredTensor
from .reading import Contents, Format, module_state

# what DataParallel, torch.compile, FSDP and checkpointing put into the names of tensors
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# parts of other networks, in which a generator's names mean something else
OTHERS = {"backbone", "stylegan_decoder", "superresolution", "discriminator", "netD", "D", "d"}
MAX_DICTS = 64
MAX_LEVELS = 3  # of dictionaries, the file's own one included


@dataclass(frozen=True)
class StateDict:
    """Tensors by name. key: where they are, "" for the file's own dictionary. prefix: what stood
    before the names. module: the pickled module, where they are of one."""

    key: str
    tensors: dict[str, StoredTensor] = field(repr=False)
    module: PersistentObject | None = field(default=None, repr=False)
    prefix: str = ""


def find(contents: Contents, *names: str) -> StateDict | None:
    """The state dict that has all these tensors, with what stands before their names taken off."""
    for state in state_dicts(contents):
        ending = f".{names[0]}"
        prefixes = [
            name[: -len(names[0])]
            for name in state.tensors
            if name == names[0] or name.endswith(ending)
        ]
        fitting = [
            prefix
            for prefix in prefixes
            if OTHERS.isdisjoint(prefix.split("."))
            and all(f"{prefix}{name}" in state.tensors for name in names)
        ]
        if fitting:
            prefix = min(fitting, key=lambda prefix: (not _averaged(prefix), len(prefix)))
            tensors = {
                name[len(prefix) :]: tensor
                for name, tensor in state.tensors.items()
                if name.startswith(prefix)
            }
            return StateDict(state.key, tensors, state.module, prefix)
    return None


def generator_format(
    name: str,
    names: Sequence[str],
    load: Callable[[Contents, StateDict], Any],
    only: Callable[[Contents, StateDict], bool] = lambda contents, found: True,
) -> Format:
    """A layout of generators that the names of some tensors tell apart. only: and what else."""

    def detect(contents: Contents) -> bool:
        found = find(contents, *names)
        return found is not None and only(contents, found)

    def load_detected(contents: Contents) -> Any:
        found = find(contents, *names)
        assert found is not None  # it was detected
        return load(contents, found)

    return Format(name, "generator", detect, load_detected)


def state_dicts(contents: Contents) -> list[StateDict]:
    """All of a file, those of averaged weights first."""
    if "state_dicts" not in contents.cache:
        found = _walk(contents.data)
        contents.cache["state_dicts"] = sorted(found, key=lambda state: not _averaged(state.key))
    return contents.cache["state_dicts"]


def beside(contents: Contents, name: str) -> Any:
    """An entry of the file's own dictionary, such as "opts"; None if there is none."""
    return contents.data.get(name) if isinstance(contents.data, dict) else None


def _walk(data: Any) -> list[StateDict]:
    found: list[StateDict] = []
    to_do = [("", data, 0)]
    while to_do and len(found) < MAX_DICTS:
        key, value, level = to_do.pop(0)
        if isinstance(value, PersistentObject):
            try:
                found.append(StateDict(key, _cleaned(module_state(value)), value))
            except Damaged:
                continue
        elif isinstance(value, dict):
            if tensors := _cleaned(value):
                found.append(StateDict(key, tensors))
            if level + 1 < MAX_LEVELS:
                to_do += [
                    (f"{key}.{name}".lstrip("."), inner, level + 1)
                    for name, inner in value.items()
                    if isinstance(inner, dict | PersistentObject)
                    and isinstance(name, str)
                    and name not in OTHERS
                ][:MAX_DICTS]
    return found


def _cleaned(values: dict[Any, Any]) -> dict[str, StoredTensor]:
    """The tensors of numbers, without what wrappers put into their names."""
    tensors: dict[str, StoredTensor] = {}
    for name, value in values.items():
        if isinstance(name, str) and isinstance(value, StoredTensor) and value.dtype is not None:
            parts = name.split(".")
            if not WRAPPERS.isdisjoint(parts):
                name = ".".join(part for part in parts if part not in WRAPPERS)
            tensors.setdefault(name, value)
    return tensors


def _averaged(name: str) -> bool:
    """Whether a name says that the weights under it are a running average of those of training."""
    lower = name.lower()
    return "ema" in lower or "smooth" in lower
