"""The smallest ComfyUI that the nodes run in, for machines without one: only what they touch.

Fields that a schema or an input does not know are errors here, as in the oldest ComfyUI that is
supported (0.3.64); what is not written here, the nodes must not use."""

from __future__ import annotations

import mimetypes
import os
import sys
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Input:
    io_type = ""
    known: tuple[str, ...] = ()

    def __init__(self, id: str, **fields: Any):
        allowed = {"display_name", "optional", "tooltip", "lazy", "extra_dict", *self.known}
        assert not set(fields) - allowed, f"{id}: {set(fields) - allowed}"
        self.id, self.fields = id, fields
        self.optional = fields.get("optional", False)


def _widget(name: str, *known: str) -> Any:
    """An input with a widget, whose signature tells the fields that it knows."""
    fields = ("display_name", "optional", "tooltip", "lazy", "default", "socketless", *known)
    kind = type("Input", (Input,), {"io_type": name, "known": fields})
    parameters = [Parameter(field, Parameter.POSITIONAL_OR_KEYWORD) for field in ("id", *fields)]
    kind.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return SimpleNamespace(Input=kind)


class MultiInput(Input):
    """An input of several types, with the widget of the first."""

    def __init__(self, shown: Input, types: list[Any]):
        super().__init__(shown.id)
        self.fields, self.optional = shown.fields, shown.optional
        self.io_type = ",".join([shown.io_type, *(one.Input.io_type for one in types)])


class Output:
    def __init__(self, id=None, display_name=None, tooltip=None, is_output_list=False):
        self.id, self.display_name, self.tooltip = id, display_name, tooltip
        self.is_output_list = is_output_list


def _type(name: str) -> Any:
    return SimpleNamespace(
        io_type=name,
        Input=type("Input", (Input,), {"io_type": name}),
        Output=type("Output", (Output,), {"io_type": name}),
    )


@dataclass
class Schema:
    node_id: str
    display_name: str = ""
    category: str = "sd"
    inputs: list[Any] = field(default_factory=list)
    outputs: list[Any] = field(default_factory=list)
    hidden: list[Any] = field(default_factory=list)
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False


class ComfyNode:
    hidden: Any = SimpleNamespace(prompt=None, extra_pnginfo=None, unique_id="7")


class NodeOutput:
    def __init__(self, *args: Any, ui: Any = None, expand: Any = None, block_execution: Any = None):
        self.args, self.ui = args, ui


class ModelPatcher:
    def __init__(self, model: torch.nn.Module, load_device: Any, offload_device: Any):
        self.model, self.load_device, self.offload_device = model, load_device, offload_device
        model.device = offload_device  # as the real one does


class InterruptProcessingException(Exception):
    pass


class Host:
    """What the tests look at and set: progress, interruption, folders."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.bars: list[ProgressBar] = []
        self.interrupt_after: int | None = None
        self.moved: list[Any] = []
        self.notices: list[tuple[str, str]] = []

    def tick(self) -> None:
        if self.interrupt_after is not None:
            self.interrupt_after -= 1
            if self.interrupt_after < 0:
                raise InterruptProcessingException

    def send_progress_text(self, text: str, node_id: str) -> None:
        self.notices.append((node_id, text))

    def models(self, name: str) -> Path:
        return self.folder / "models" / name


class ProgressBar:
    host: Host

    def __init__(self, total: int):
        self.total, self.calls = total, []
        self.host.bars.append(self)

    def update_absolute(self, value: int, total: Any = None, preview: Any = None) -> None:
        self.calls.append((value, total, preview))


def install(folder: Path) -> Host:
    """Put the modules in place; `folder` is ComfyUI's own."""
    host = Host(folder)
    ProgressBar.host = host
    for name in ("models", "output", "input", "temp"):
        (folder / name).mkdir(parents=True, exist_ok=True)

    io = SimpleNamespace(
        Custom=_type,
        Image=_type("IMAGE"),
        Mask=_type("MASK"),
        Video=_type("VIDEO"),
        Audio=_type("AUDIO"),
        UploadType=SimpleNamespace(image="image_upload", video="video_upload"),
        Hidden=SimpleNamespace(prompt="PROMPT", unique_id="UNIQUE_ID"),
        Combo=_widget("COMBO", "options", "control_after_generate", "upload"),
        Int=_widget("INT", "min", "max", "step", "control_after_generate", "display_mode"),
        Float=_widget("FLOAT", "min", "max", "step", "round", "display_mode"),
        Boolean=_widget("BOOLEAN", "label_on", "label_off"),
        MultiType=SimpleNamespace(Input=MultiInput),
        String=_widget("STRING", "multiline", "placeholder", "dynamic_prompts"),
        Schema=Schema,
        ComfyNode=ComfyNode,
        NodeOutput=NodeOutput,
    )
    io.String.Output = type("Output", (Output,), {"io_type": "STRING"})
    io.Float.Output = type("Output", (Output,), {"io_type": "FLOAT"})
    ui = SimpleNamespace(PreviewImage=lambda images, cls: SimpleNamespace(values=list(images)))
    management = _module(
        "comfy.model_management",
        get_torch_device=_cpu,
        unet_offload_device=_cpu,
        intermediate_device=_cpu,
        soft_empty_cache=lambda: None,
        load_models_gpu=lambda models, memory_required=0, force_full_load=False: host.moved.extend(
            models
        ),
        throw_exception_if_processing_interrupted=host.tick,
        InterruptProcessingException=InterruptProcessingException,
    )
    patcher = _module("comfy.model_patcher", ModelPatcher=ModelPatcher)
    utils = _module("comfy.utils", ProgressBar=ProgressBar)
    arguments = _module("comfy.cli_args", args=SimpleNamespace(disable_metadata=False))
    _module(
        "comfy",
        model_management=management,
        model_patcher=patcher,
        utils=utils,
        cli_args=arguments,
    )
    latest = _module(
        "comfy_api.latest", io=io, ui=ui, ComfyExtension=type("ComfyExtension", (), {})
    )
    _module("server", PromptServer=SimpleNamespace(instance=host))
    _module("comfy_api", latest=latest)
    _folders(folder)
    return host


def _cpu() -> torch.device:
    import torch

    return torch.device("cpu")


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(content, __path__=[])
    sys.modules[name] = module
    return module


def _folders(folder: Path) -> None:
    known: dict[str, tuple[list[str], set[str]]] = {}
    places = {"[output]": folder / "output", "[input]": folder / "input"}

    def get_filename_list(name: str) -> list[str]:
        paths, endings = known[name]
        return sorted(
            entry
            for path in paths
            for entry in (os.listdir(path) if os.path.isdir(path) else [])
            if os.path.splitext(entry)[1] in endings
        )

    def get_full_path(name: str, file: str) -> str | None:
        found = [os.path.join(path, file) for path in known[name][0]]
        return next(filter(os.path.isfile, found), None)

    def get_annotated_filepath(name: str) -> str:
        stem, _, place = name.rpartition(" ")
        return str(places[place] / stem if place in places else folder / "input" / name)

    def get_save_image_path(prefix: str, output: str, *size: int) -> tuple[str, str, int, str, str]:
        subfolder, name = os.path.split(prefix)
        full = os.path.join(output, subfolder)
        os.makedirs(full, exist_ok=True)
        return full, name, len(os.listdir(full)) + 1, subfolder, prefix

    _module(
        "folder_paths",
        folder_names_and_paths=known,
        models_dir=str(folder / "models"),
        get_filename_list=get_filename_list,
        get_full_path=get_full_path,
        get_folder_paths=lambda name: known[name][0],
        get_annotated_filepath=get_annotated_filepath,
        get_save_image_path=get_save_image_path,
        get_output_directory=lambda: str(folder / "output"),
        get_input_directory=lambda: str(folder / "input"),
        filter_files_content_types=lambda files, kinds: [
            name for name in files if (mimetypes.guess_type(name)[0] or "").startswith(kinds[0])
        ],
    )
