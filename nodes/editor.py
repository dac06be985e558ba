"""Live editing: sliders for the directions of a generator, and a picture that follows them.

The sliders are in web/. Here they are one text, an edit as the library reads it, so that a workflow
without its front end, a program and the command line all say the same."""

# pyright: reportMissingImports=false
# (ComfyUI is the host, not a dependency)
from __future__ import annotations

import base64
import io as streams
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import folder_paths
from comfy_api.latest import io

from ..cycle_core.errors import CycleError, InputError
from ..cycle_core.files.assets import ASSETS
from ..cycle_core.runtime.cache import stamp
from . import folders, host
from .attributes import GROUPS
from .load import named
from .types import CODE, DIRECTION, GENERATOR, NUMBER

if TYPE_CHECKING:
    from ..cycle_core.codes import Code
    from ..cycle_core.directions.base import BaseDirection
    from ..cycle_core.directions.text import Edit

EMBEDDED = ASSETS / "directions.safetensors"
PLUGS = ("direction_1", "direction_2", "direction_3")
NUMBERS = ("number_1", "number_2", "number_3", "number_4")
MOST = {"sd": 3.0, "raw": 10.0}  # where the sliders end, by a direction's unit; numbers go beyond
LISTED = 24  # directions of one file: components come by the hundred, the strongest first
FEW_PIXELS = 128  # a side: so many are sooner seen as they are than a file of them
# what the front end adds to this node in a prompt while a slider moves. It is no input of the
# schema: no widget shows it and no workflow keeps it; but results are kept apart by it, as the host
# caches them by all that a prompt says.
MOVING = "moving"
NOTHING_KNOWN = (
    "No directions are known for this generator: connect one, such as that of Discover Directions, "
    "or put a direction file into models/gan_directions."
)


class LatentEditor(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            "CycleLatentEditor",
            "Latent Editor",
            "Edit",
            "Sliders for all directions of the generator, and a picture that follows them while "
            "they move.",
            search_aliases=["live edit", "sliders", "face editor", "interactive"],
            # so that what it shows is sent at each run, as has_intermediate_output does for others
            is_output_node=True,
            inputs=[
                CODE.Input("code", tooltip="The codes to edit, which are pivots as a rule."),
                GENERATOR.Input(
                    "generator",
                    tooltip="The generator, or a tuned one, that generates the picture and whose "
                    "directions get the sliders.",
                    extra_dict={"sliders": embedded_sliders()},  # before anything has run
                ),
                io.String.Input(
                    "edits",
                    default="",
                    tooltip="What the sliders say, as the command line writes it, such as "
                    "smile=+2,age=-1; smile:=0 is a value to arrive at, and keep=glasses or "
                    "layers=0-5 belongs to the change before it.",
                ),
                io.Int.Input(
                    "shown",
                    default=0,
                    min=0,
                    max=4095,
                    tooltip="Which code of a batch the picture shows, counted from 0, while all "
                    "of them are edited.",
                ),
                *(
                    DIRECTION.Input(
                        plug,
                        optional=True,
                        tooltip=f"One more slider, which the edits call {plug}: any direction, "
                        "such as a discovered one.",
                    )
                    for plug in PLUGS
                ),
                *(
                    NUMBER.Input(
                        number,
                        optional=True,
                        tooltip=f"A number of another node for the edits that say {number}, such "
                        f"as smile={number}.",
                        extra_dict={"forceInput": True},
                    )
                    for number in NUMBERS
                ),
                host.same_space("the codes"),
            ],
            outputs=[CODE.Output(display_name="code", tooltip="The edited codes.")],
            hidden=[io.Hidden.prompt, io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> Any:
        return [stamp(folders.locate("direction", file)) for file in _files()]

    @classmethod
    def execute(
        cls,
        code: Any,
        generator: host.LoadedModel,
        edits: str,
        shown: int,
        same_space: bool = False,
        **plugs: Any,
    ) -> io.NodeOutput:
        from ..cycle_core.invert.generate import generate
        from ..cycle_core.models.same_space import adopt

        G = generator.to_device(host.generating_memory(generator.module, 1))
        code = adopt(code, G) if same_space else code
        numbers = {name: plugs.pop(name, None) for name in NUMBERS}
        edited = apply(with_numbers(edits, numbers), code, G, plugs)
        index = min(shown, edited.batch - 1)
        size = size_while_moving(G) if is_moving(cls) else None
        generated = generate(G, edited.one(index), dtype=generator.dtype, size=size)
        sliders = known_sliders(G, plugs)
        state = {
            "edits": edits,
            "image": picture(generated),
            "small": size is not None,
            "shown": index,
            "batch": edited.batch,
            # None: the front end has these from the schema
            "sliders": None if sliders == embedded_sliders() else sliders,
            "says": "" if sliders else NOTHING_KNOWN,
        }
        return io.NodeOutput(host.to_cpu(edited), ui={"latent_editor": [state]})


def is_moving(node: type[io.ComfyNode]) -> bool:
    """Whether the picture is soon to be followed by another one."""
    if node.hidden is None or not node.hidden.prompt:
        return False
    return bool(node.hidden.prompt.get(node.hidden.unique_id, {}).get("inputs", {}).get(MOVING))


def size_while_moving(G: Any) -> int | None:
    """The side of a picture that is shown by its pixels, where the generator can stop there; None
    where it cannot, or gives no larger one."""
    fitting = [size for size in G.synthesis.sizes if size <= FEW_PIXELS]
    return fitting[-1] if fitting and fitting[-1] < G.synthesis.sizes[-1] else None


def with_numbers(edits: str, numbers: dict[str, float | None]) -> str:
    """The edits with the numbers that are connected in the place of their names."""

    def number(found: re.Match[str]) -> str:
        value = numbers.get(found[1])
        if value is None:
            raise InputError(
                f"The edits name {found[1]}, but nothing is connected there: connect a number, or "
                "write one."
            )
        return f"={value:.6g}"

    return re.sub(r"=\s*(number_\d+)(?=\s*(,|$))", number, edits)


def apply(edits: str, code: Code, G: Any, plugs: dict[str, Any]) -> Code:
    """The codes after the edits. `plugs`: the directions that are connected, by their inputs.

    Raises InputError, MissingFileError, MismatchError, CheckpointError."""
    from ..cycle_core.directions.text import apply_edit, names_in, parse_edit

    if not edits.strip():
        return code
    edit = parse_edit(edits)
    _check_once(edit)
    return apply_edit(code, edit, G, {name: _open(name, G, plugs) for name in names_in(edit)})


def embedded_sliders() -> list[dict[str, Any]]:
    """Those of the embedded directions, in their groups; what no group names comes last."""
    entries = {entry["name"]: entry for entry in folders.embedded_directions()}
    rest = {name: name for name in entries if not any(name in x for x in GROUPS.values())}
    return [
        _slider(name, label, group, entries[name]["meaning"], entries[name]["unit"])
        for group, labels in {**GROUPS, "Other": rest}.items()
        for name, label in labels.items()
        if name in entries
    ]


def known_sliders(G: Any, plugs: dict[str, Any]) -> list[dict[str, Any]]:
    """Those of the directions that fit a generator: embedded, connected, of files."""
    from ..cycle_core.codes import Code

    mean = Code(G.w_avg.expand(1, G.num_ws, -1), "W", G.base_fingerprint)
    fitting = {x.name for x in _directions_in(stamp(EMBEDDED)) if _fits(x, mean)}
    found = [slider for slider in embedded_sliders() if slider["name"] in fitting]
    for plug, direction in plugs.items():
        if direction is not None:
            label = direction.name or plug
            found.append(_slider(plug, label, "Connected", direction.meaning, direction.unit))
    for file in _files():
        several = _directions_in(stamp(folders.locate("direction", file)))
        for direction in [x for x in several if _fits(x, mean)][:LISTED]:
            entry = direction.name.removeprefix(f"{Path(file).stem}:")
            name = file if len(several) == 1 else f"{file}:{entry}"
            found.append(_slider(name, entry, file, direction.meaning, direction.unit))
    return found


def picture(generated: Any) -> dict[str, Any]:
    """One picture float [1,C,H,W] in [-1,1] for the front end, which needs no file and no route:
    {"width", "height"} and, in base64, its pixels ("rgb") or, where they are many, a file ("jpeg").
    """
    from ..cycle_core.images.io import as_rgb, to_pil

    image = to_pil(as_rgb(generated))
    image.thumbnail((host.PREVIEW, host.PREVIEW))
    size = {"width": image.width, "height": image.height}
    if max(image.size) <= FEW_PIXELS:
        return {**size, "rgb": base64.b64encode(image.tobytes()).decode()}
    stream = streams.BytesIO()
    image.save(stream, "JPEG", quality=95, subsampling=0)
    return {**size, "jpeg": base64.b64encode(stream.getvalue()).decode()}


def _slider(name: str, label: str, group: str, meaning: str, unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "group": group,
        "meaning": meaning,
        "most": MOST[unit],
    }


def _check_once(edit: Edit) -> None:
    names = [change.direction for change in edit.changes]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"The edits name {name} twice: write one change for it.")


def _open(name: str, G: Any, plugs: dict[str, Any]) -> BaseDirection:
    if name in PLUGS:
        if plugs.get(name) is None:
            raise InputError(
                f"The edits name {name}, but nothing is connected there: connect a direction, or "
                f"take {name} out of the edits."
            )
        return plugs[name]
    from ..cycle_core.directions.files import load_direction, needs_generator

    file, _, entry = name.partition(":")
    parts = [name] if needs_generator(name) and file == "S" else named(file, entry)
    whole = ":".join(parts)
    if needs_generator(whole):  # it moves channels that are the generator's
        return load_direction(whole, generator=G)
    return _opened(whole, *map(stamp, parts))


@lru_cache(maxsize=64)
def _opened(name: str, *_: Any) -> BaseDirection:
    """A direction that is opened once, and again when its file has changed."""
    from ..cycle_core.directions.files import load_direction

    return load_direction(name)


def _files() -> list[str]:
    """Direction files that an edit can name."""
    files = folder_paths.get_filename_list(folders.FOLDERS["direction"][0])
    return [file for file in files if not set(file) & set(",=:")]


@lru_cache(maxsize=32)
def _directions_in(file: tuple[str, int, int]) -> list[BaseDirection]:
    """Those of a file, by its stamp; none where it holds something else, which is reported where
    the file is used."""
    from ..cycle_core.directions.files import list_directions

    try:
        return list_directions(file[0])
    except CycleError:
        return []


def _fits(direction: BaseDirection, mean: Code) -> bool:
    try:
        direction.check(mean)
    except CycleError:
        return False
    return True


NODES = [LatentEditor]
