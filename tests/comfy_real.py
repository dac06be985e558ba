"""A real ComfyUI with the pack in it, in this process or as a server: from the checkout that
COMFYUI_DIR names, in folders of its own, with an interpreter that has its requirements.

    COMFYUI_DIR=... python tests/comfy_real.py [NAME ...]     draws the pictures of workflows/"""

# what is imported below is the host's: its `nodes` is not ours
# pyright: reportMissingImports=false, reportAttributeAccessIssue=false
from __future__ import annotations

import asyncio
import importlib
import inspect
import math
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

ROOT = Path(__file__).parents[1]
CHECKOUT = os.environ.get("COMFYUI_DIR", "") and os.path.abspath(os.environ["COMFYUI_DIR"])
REASON = (
    "needs a real ComfyUI: set COMFYUI_DIR to a checkout, and use an interpreter that has its "
    "requirements"
)
FOLDER = "My pack-1.0 (x)"  # with what folder names may have
CLIENT = "test"
START = 900  # seconds until a server answers, on a busy machine
# the core's, of files that hold more than it always has
EXTRAS = ("nodes_mask.py", "nodes_images.py", "nodes_preview_any.py", "nodes_video.py")
SINCE_2026 = ("nodes_bounding_boxes.py",)


def place(base: Path, name: str = FOLDER) -> Path:
    """Put the pack into base/custom_nodes."""
    folder = base / "custom_nodes" / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(ROOT, target_is_directory=True)
    for name in ("input", "output", "models", "temp", "user"):
        (base / name).mkdir(exist_ok=True)
    return folder


@contextmanager
def serve(base: Path, folder: str, *options: str) -> Iterator[str]:
    """The address of a server with only the pack in its custom_nodes; its output is in base/log.

    Raises RuntimeError where it ends before it answers."""
    place(base, folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, os.path.join(CHECKOUT, "main.py"), "--cpu", "--disable-api-nodes"),
        *("--listen", "127.0.0.1", "--port", str(port), "--base-directory", str(base)),
        *("--database-url", f"sqlite:///{base}/user/comfyui.db", *options),
    ]
    environment = {**os.environ, "HOME": str(base), "CYCLE_CORE_OFFLINE": "1"}
    with (base / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=base, env=environment)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(START):
            if server.poll() is not None:
                raise RuntimeError(f"ComfyUI ended:\n{(base / 'log').read_text()[-3000:]}")
            try:
                urlopen(f"{address}/system_stats", timeout=30).close()
                break
            except OSError:
                time.sleep(1)
        yield address
    finally:
        server.terminate()
        server.wait()


def is_old() -> bool:
    """Whether the checkout is of before 2026."""
    import comfyui_version

    return comfyui_version.__version__.startswith("0.3.")


class Comfy:
    """One in this process; there can be only one.

    events: what it sent to its client since the last `run`, as (name, data).
    progress: each call of a progress bar since then, as (value, total, preview).
    on_progress: called with the value at each of them."""

    def __init__(self, base: Path):
        self.base = base
        self.events: list[tuple[Any, Any]] = []
        self.progress: list[tuple[int, int, Any]] = []
        self.on_progress: Callable[[int], None] | None = None
        self._before = set(sys.modules)
        sys.path.insert(0, CHECKOUT)
        given, sys.argv = sys.argv, ["main.py", "--cpu", "--base-directory", str(base)]
        try:
            import comfy.options

            comfy.options.enable_args_parsing()
            import comfy.cli_args  # reads sys.argv
        finally:
            sys.argv = given
        # first, as main.py does: `nodes` puts comfy/utils.py before it
        importlib.import_module("utils.extra_config")
        import comfy.utils
        import execution

        import nodes

        self.nodes, self.execution = nodes, execution
        comfy.utils.set_progress_bar_global_hook(self._progressed)
        folder = place(base)
        self.loaded = asyncio.run(self._load(folder))
        nodes.NODE_CLASS_MAPPINGS["Collect"] = _Collect
        self.server = _Client(self.events)
        options: dict[str, Any] = {"cache_type": execution.CacheType.CLASSIC}
        if "cache_args" in inspect.signature(execution.PromptExecutor).parameters:
            options["cache_args"] = {"lru": 0, "ram": 0, "ram_inactive": 0}
        self.executor = execution.PromptExecutor(self.server, **options)

    async def _load(self, folder: Path) -> bool:
        await self.nodes.init_public_apis()
        for name in (*EXTRAS, *(() if is_old() else SINCE_2026)):
            await self.nodes.load_custom_node(os.path.join(CHECKOUT, "comfy_extras", name))
        return await self.nodes.load_custom_node(str(folder))

    def classes(self) -> dict[str, Any]:
        """The pack's nodes."""
        known = self.nodes.NODE_CLASS_MAPPINGS
        return {name: node for name, node in known.items() if name.startswith("Cycle")}

    def complete(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """A prompt in which widgets that are not given have their defaults."""
        whole = {}
        for key, node in prompt.items():
            inputs = self.nodes.NODE_CLASS_MAPPINGS[node["class_type"]].INPUT_TYPES()
            given = {
                name: spec[1]["default"]
                for name, spec in inputs.get("required", {}).items()
                if len(spec) > 1 and "default" in spec[1]
            }
            whole[key] = {**node, "inputs": {**given, **node["inputs"]}}
        return whole

    def validate(self, prompt: dict[str, Any]) -> Any:
        return self._validated(self.complete(prompt))

    def _validated(self, whole: dict[str, Any]) -> Any:
        """The host writes values into it as they are to be run."""
        return asyncio.run(self.execution.validate_prompt("test", whole, None))

    def run(self, prompt: dict[str, Any]) -> dict[str, Any]:
        """Run a prompt; what its Collect nodes got, by their names.

        Raises RuntimeError with the message that the user sees on the node."""
        self.events.clear()
        self.progress.clear()
        whole = self.complete(prompt)
        known, error, outputs, errors = self._validated(whole)
        if not known or errors:
            raise RuntimeError(f"{error} {errors}")
        _Collect.got.clear()
        self.executor.execute(whole, str(uuid.uuid4()), {"client_id": CLIENT}, outputs)
        for failed in self.sent("execution_error"):
            raise RuntimeError(f"{failed['node_type']}: {failed['exception_message']}")
        return dict(_Collect.got)

    def sent(self, name: str) -> list[Any]:
        return [data for event, data in self.events if event == name]

    def interrupt(self) -> None:
        """What the cancel button does."""
        self.nodes.interrupt_processing()

    def close(self) -> None:
        """Let other modules stand in for its own again."""
        sys.path.remove(CHECKOUT)
        for name in set(sys.modules) - self._before:
            file = getattr(sys.modules[name], "__file__", None) or ""
            if file.startswith((CHECKOUT, str(self.base))) or name.startswith("comfy"):
                del sys.modules[name]

    def _progressed(self, value: int, total: int, preview: Any, **_: Any) -> None:
        self.progress.append((value, total, preview))
        if self.on_progress is not None:
            self.on_progress(value)


class _Client:
    """The part of the server that the executor talks to."""

    def __init__(self, events: list[tuple[Any, Any]]):
        self.events = events
        self.client_id = self.last_node_id = self.last_prompt_id = None
        self.sockets_metadata: dict[str, Any] = {CLIENT: {"feature_flags": {}}}

    def send_sync(self, event: Any, data: Any, sid: Any = None) -> None:
        self.events.append((event, data))


class _Any(str):
    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class _Collect:
    """A node of another pack, in the old style, that takes anything."""

    got: dict[str, Any] = {}  # noqa: RUF012
    RETURN_TYPES = ()
    FUNCTION = "collect"
    OUTPUT_NODE = True
    CATEGORY = "test"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"value": (_Any("*"),), "name": ("STRING", {"default": "value"})}}

    @classmethod
    def IS_CHANGED(cls, **_: Any) -> float:
        return float("nan")  # collects at every run

    def collect(self, value: Any, name: str) -> dict[str, Any]:
        import torch

        self.got[name] = value
        self.got["inference mode"] = torch.is_inference_mode_enabled()
        return {}


# ------------------------------------------------------------------ prompts
def node(kind: str, **inputs: Any) -> dict[str, Any]:
    """An entry of a prompt; a link is ("key", output)."""
    links = {name: list(x) if isinstance(x, tuple) else x for name, x in inputs.items()}
    return {"class_type": kind, "inputs": links}


def collect(**outputs: tuple[str, int]) -> dict[str, Any]:
    """Entries that keep outputs, under the names that `run` gives them back by."""
    return {
        f"collect {name}": node("Collect", value=link, name=name) for name, link in outputs.items()
    }


def saved(prompt: dict[str, Any]) -> dict[str, tuple[str, int]]:
    """What a prompt saves as pictures, by the prefixes of their names: for `collect`."""
    found = {}
    for entry in (x["inputs"] for x in prompt.values() if x["class_type"].startswith("Save")):
        holder = prompt[entry["video"][0]]["inputs"] if "video" in entry else entry
        found[entry["filename_prefix"].removeprefix("cycle/")] = tuple(holder["images"])
    return found


MODELS = {
    "G": node("CycleLoadGenerator", name="portraits"),
    "E": node("CycleLoadEncoder", name="portraits"),
}
SAMPLED = {
    **MODELS,
    "code": node("CycleSampleCodes", generator=("G", 0), seed=7),
    "photo": node("CycleGenerate", code=("code", 0), generator=("G", 0)),
}


ALIGN = {"generator": ("G", 0), "no_face": "centre", "detector": "embedded"}


def edited(photo, **align):
    """From a photo to its edit, without refining and tuning."""
    return {
        **MODELS,
        "align": node("CycleAlign", images=photo, **{**ALIGN, **align}),
        "code": node("CycleEncode", images=("align", 0), encoder=("E", 0), generator=("G", 0)),
        "dir": node("CycleLoadDirection", name="smile"),
        "edit": node("CycleLatentEdit", code=("code", 0), direction=("dir", 0), strength=2.0),
        "before": node("CycleGenerate", code=("code", 0), generator=("G", 0)),
        "after": node("CycleGenerate", code=("edit", 0), generator=("G", 0)),
        "paste": node(
            "CyclePasteBack",
            images=photo,
            crops=("after", 0),
            frames=("align", 1),
            reference=("before", 0),
        ),
    }


# ------------------------------------------------------------------ pictures
def draw_pictures(names: list[str]) -> None:
    """workflows/NAME.jpg: what each workflow saves, beside the photo where it shows both; that of
    live-edit, its sliders, is made by `comfy_pictures.py`."""
    import workflow_files

    with tempfile.TemporaryDirectory() as folder:
        comfy = Comfy(Path(folder))
        for name in names or set(workflow_files.names()) - {"live-edit"}:
            prompt = workflow_files.self_contained(workflow_files.read_api(name))
            kinds = {entry["class_type"]: (key, 0) for key, entry in prompt.items()}
            wanted = saved(prompt)
            if "CycleBeforeAfter" in kinds:
                wanted = {"before": kinds["CycleExample"], **wanted}
            got = comfy.run({**prompt, **collect(**wanted)})
            found = [picture for key in wanted for picture in _some(got[key])]
            largest = max(picture.size for picture in found)  # a strip, or its pictures
            shown = [picture for picture in found if picture.size == largest]
            path = workflow_files.FOLDER / f"{name}.jpg"
            _arranged(shown).save(path, quality=88)
            print(path.relative_to(ROOT), flush=True)


def _some(images: Any, most: int = 9) -> list[Any]:
    """The pictures of a batch; of the frames of a clip four, evenly."""
    from PIL import Image

    chosen = images if len(images) <= most else images[:: len(images) // 4][:4]
    return [Image.fromarray((x * 255).round().byte().numpy()) for x in chosen.cpu()]


def _arranged(pictures: list[Any], width: int = 960, wanted: float = 1.5) -> Any:
    """One picture of all, in the rows that come nearest to 3:2, as lists of templates show it."""
    from PIL import Image

    shape = pictures[0].width / pictures[0].height
    count = len(pictures)

    def unlike(across: int) -> float:
        rows = -(-count // across)
        return abs(math.log(shape * across / rows / wanted)) + 3 * (rows * across - count) / count

    across = min(range(1, count + 1), key=unlike)
    rows, w = -(-count // across), width // across
    h = round(w / shape)
    sheet = Image.new("RGB", (w * across, h * rows), (32, 32, 32))
    for k, one in enumerate(pictures):
        row = k // across
        free = w * across * (row + 1) - w * count if row == rows - 1 else 0  # of the last row
        fitted = one.resize((w, h), Image.Resampling.LANCZOS)
        sheet.paste(fitted, (k % across * w + free // 2, row * h))
    return sheet


if __name__ == "__main__":
    if not CHECKOUT:
        sys.exit(REASON)
    draw_pictures(sys.argv[1:])
