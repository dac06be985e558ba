"""What ComfyUI provides: schemas, messages, devices and memory, pictures, progress."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import comfy.model_management as management
from comfy_api.latest import io

from ..cycle_core import errors
from ..cycle_core.errors import CycleError, InputError
from . import folders

if TYPE_CHECKING:
    import torch

    from ..cycle_core.codes import Code
    from ..cycle_core.invert.tune import Tuned
    from ..cycle_core.measure.comparison import Judge
    from ..cycle_core.measure.selection import Networks

CATEGORY = "Cycle Encoding"

PREVIEW = 512  # pixels, at most
PAUSE = 0.5  # seconds between two previews

Module = TypeVar("Module", bound="torch.nn.Module")
T = TypeVar("T")


# ------------------------------------------------------------------ schemas
def schema(node_id: str, title: str, room: str, description: str, **fields: Any) -> io.Schema:
    """room: the sub-category in which the editor lists the node."""
    return known(
        io.Schema,
        node_id=node_id,
        display_name=title,
        category=f"{CATEGORY}/{room}",
        description=description,
        **fields,
    )


def advanced(kind: Any, name: str, **fields: Any) -> Any:
    """An input that is folded away where the host can do that."""
    return known(kind, name, advanced=True, **fields)


def same_space(what: str) -> Any:
    """The switch that takes things of another generator as ones of this."""
    return advanced(
        io.Boolean.Input,
        "same_space",
        optional=True,  # workflows of before do not name it
        default=False,
        tooltip=f"Take {what} for this generator, also of another one of the same shape: its "
        "parent, or one that was fine-tuned from it or blended with it.",
    )


def known(make: Callable[..., T], *given: Any, **fields: Any) -> T:
    """`make` without the fields that this version of the host does not know."""
    names = _fields(make)
    return make(*given, **{name: value for name, value in fields.items() if name in names})


@lru_cache(maxsize=64)
def _fields(make: Callable[..., Any]) -> Collection[str]:
    """Once for each: the host asks for schemas dozens of times in a run."""
    return inspect.signature(make).parameters


# ------------------------------------------------------------------ messages
def name_errors() -> None:
    """Let the host show an error's type as a name: it would show the module, which for a pack is
    the path of its folder."""
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, Exception):
            error.__module__ = "cycle_core"


def notice(node: type[io.ComfyNode], sentence: str) -> None:
    """Show a sentence on a node whose schema asks for `io.Hidden.unique_id`; in the log where
    ComfyUI's workflows are run without its server."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is None:
        logging.warning(sentence)
    elif node.hidden is not None and node.hidden.unique_id is not None:
        server.send_progress_text(sentence, node.hidden.unique_id)


def checked(find: Callable[..., object], *given: Any) -> bool | str:
    """For `validate_inputs`: whether a file is found, or the sentence that says what to do."""
    if None in given:  # comes from another node
        return True
    try:
        find(*given)
    except CycleError as error:
        return str(error)
    return True


# ------------------------------------------------------------------ devices and memory
@dataclass(frozen=True, eq=False)
class LoadedModel(Generic[Module]):
    """A network whose place the host's memory management decides about.

    source: the name or path that it was opened from; it says which presets and losses fit.
    dtype: of the convolutions in generating and in tuning, None for that of the weights.
    tuned: how a generator was tuned, None where it was not.
    """

    module: Module
    patcher: Any
    source: str
    dtype: torch.dtype | None = None
    tuned: Tuned | None = None

    def __str__(self) -> str:
        """What Preview Any prints."""
        from ..cycle_core.models.generator import Generator

        name = os.path.basename(self.source)
        weights = sum(one.numel() for one in self.module.parameters()) / 1e6
        if not isinstance(self.module, Generator):
            return f"The encoder {name}, {weights:.1f} million weights."
        _, height, width = self.module.image_shape
        tuned = " tuned to a picture" if self.tuned else ""
        return (
            f"The generator {name}{tuned}, {width}x{height} pixels, {weights:.1f} million weights."
        )

    @classmethod
    def of(
        cls,
        module: Module,
        source: str,
        dtype: torch.dtype | None = None,
        tuned: Tuned | None = None,
    ) -> LoadedModel[Module]:
        import torch
        from comfy.model_patcher import ModelPatcher

        shell = torch.nn.Module()  # the host sets attributes on what it moves
        shell.add_module("network", module)
        offload_device = management.unet_offload_device()
        module.to(offload_device)
        patcher = ModelPatcher(shell, management.get_torch_device(), offload_device)
        return cls(module, patcher, source, dtype, tuned)

    def to_device(self, memory: float = 0.0) -> Module:
        """The network on the device where it is to run; `memory`: bytes that it needs besides."""
        return to_device(self, memory=memory)[0]


def to_device(*models: LoadedModel[Any], memory: float = 0.0) -> list[Any]:
    """Several networks on the device at once."""
    import torch

    # weights that are moved in inference mode could not be trained or versioned afterwards
    with torch.inference_mode(False), torch.no_grad():
        management.load_models_gpu(
            [one.patcher for one in models], memory_required=memory, force_full_load=True
        )
        for one in models:
            one.module.to(one.patcher.load_device)
            _leave_inference(one.module)
    return [one.module for one in models]


def wrap_tuned(tuned: Tuned, original: LoadedModel[Any]) -> LoadedModel[Any]:
    """The generator that tuning gave, with the source and dtype of the one that was tuned."""
    import torch

    with torch.inference_mode(False):
        on_cpu = replace(tuned, pivot=tuned.pivot.to("cpu"), image=tuned.image.cpu())
        return LoadedModel.of(tuned.generator, original.source, original.dtype, on_cpu)


def tuning_of(generator: LoadedModel[Any]) -> Tuned:
    """How a generator was tuned. Raises InputError where it was not."""
    if generator.tuned is None:
        raise InputError(
            "This generator was not tuned, so there is nothing to save: connect the generator that "
            "Pivot Tune gives."
        )
    return generator.tuned


@lru_cache(maxsize=2)
def _losses(embedded: bool) -> tuple[LoadedModel[Any], LoadedModel[Any]]:
    import torch

    from ..cycle_core.measure.selection import Networks

    folders.know_folders()
    with torch.inference_mode(False):
        perceptual, identity = Networks.for_loss(embedded)
        return LoadedModel.of(perceptual, perceptual.name), LoadedModel.of(identity, identity.name)


def losses(generator: LoadedModel[Any]) -> tuple[LoadedModel[Any], LoadedModel[Any]]:
    """The perceptual and the identity network that fit a generator: the embedded ones for the
    embedded one, else the published ones where their files are found."""
    from ..cycle_core.measure.selection import in_embedded_domain

    return _losses(in_embedded_domain(generator.module))


def loss_networks() -> Networks:
    """What refining and tuning minimise with any other generator than the embedded one."""
    from ..cycle_core.measure.selection import Networks

    return Networks(*(one.module for one in _losses(False)))


def judge() -> Judge:
    """The networks that measure pictures of any domain, on the device; they are kept between
    runs."""
    kept, loaded = _judge()
    to_device(*loaded)
    return kept


@lru_cache(maxsize=1)
def _judge() -> tuple[Judge, list[LoadedModel[Any]]]:
    import torch

    from ..cycle_core.measure.comparison import Judge

    folders.know_folders()
    with torch.inference_mode(False):
        found = Judge(embedded=False)
        parts = [one for one in found.networks if isinstance(one, torch.nn.Module)]
        return found, [LoadedModel.of(one, str(one.name)) for one in parts]


def _leave_inference(module: torch.nn.Module) -> None:
    """Plain tensors again where another node had the module moved in inference mode."""
    import torch

    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            if parameter.is_inference():
                plain = torch.nn.Parameter(parameter.clone(), parameter.requires_grad)
                part.register_parameter(name, plain)
        for name, buffer in list(part.named_buffers(recurse=False)):
            if buffer.is_inference():
                part._buffers[name] = buffer.clone()


def device() -> torch.device:
    return management.get_torch_device()


def generating_memory(generator: Any, pictures: int) -> float:
    """Bytes, roughly, that generating so many pictures takes: a dozen maps of the last layers."""
    return pictures * generator.resolution**2 * 64 * 4 * 12.0


def training_memory(generator: Any, pictures: int) -> float:
    """Bytes, roughly: every layer's maps are kept for the backward pass, and two copies of the
    weights with their gradients and moments are made."""
    weights = sum(parameter.numel() for parameter in generator.parameters()) * 4
    return generating_memory(generator, pictures) * 4 + weights * 5


# ------------------------------------------------------------------ pictures
def pictures(image: torch.Tensor) -> torch.Tensor:
    """IMAGE -> the library's float32 [B,3,H,W] in [-1,1]. Raises InputError for an empty batch."""
    from ..cycle_core.images.io import from_comfy

    if 0 in image.shape:
        raise InputError(
            f"The batch of pictures is empty (its shape is {list(image.shape)}): connect at least "
            "one picture; after Align, look whether a face was found."
        )
    return from_comfy(image)


def image(pictures: torch.Tensor) -> torch.Tensor:
    """The library's pictures -> IMAGE, where the host wants it."""
    from ..cycle_core.images.io import to_comfy

    return to_comfy(pictures.to(management.intermediate_device()))


def mask(cover: torch.Tensor) -> torch.Tensor:
    """The library's float [B,1,H,W] in 0..1 -> MASK, where the host wants it."""
    return cover[:, 0].float().contiguous().to(management.intermediate_device())


def given_mask(mask: torch.Tensor) -> torch.Tensor:
    """MASK [B,H,W] or [H,W] -> the library's float32 [B,1,S,S]: as the host's own nodes do, a mask
    of another shape than what it lies over, which here is a square, is stretched to it."""
    import torch.nn.functional as F

    from ..cycle_core.runtime.devices import one_thread_if_small

    given = mask.reshape(-1, 1, *mask.shape[-2:]).float()
    side = max(given.shape[-2:])
    with one_thread_if_small():
        return F.interpolate(given, (side, side), mode="bilinear", antialias=True)


def to_cpu(code: Code) -> Code:
    """A code as it travels between nodes: codes are small and live on the CPU."""
    return code.to("cpu")


class Progress:
    """A callback for every step of the library: shows how far it is, and ends it when the user
    presses cancel, by an exception of the host that passes through."""

    def __init__(self, previews: bool = True):
        self.previews = previews
        self.bar: Any = None
        self.shown = 0.0

    def __call__(self, step: int, total: int, preview: torch.Tensor | None = None) -> None:
        import comfy.utils

        management.throw_exception_if_processing_interrupted()
        if self.bar is None:
            self.bar = comfy.utils.ProgressBar(total)
        picture, now = None, time.monotonic()
        if self.previews and preview is not None and now - self.shown >= PAUSE:
            from ..cycle_core.images.io import as_rgb, to_pil

            picture = ("JPEG", to_pil(as_rgb(preview[:1]).nan_to_num()), PREVIEW)
            self.shown = now
        self.bar.update_absolute(step, total, picture)
