"""The comparison on aligned photographs: any generator, any encoders that were trained for it.

The protocol is the one that the field shares (docs/method.md): pictures and results as files of
256 px resized by PIL, one picture at a time, nothing rounded, what fails counted and named. One
result file for each method and picture: a comparison that was stopped goes on with the next one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..checkpoints.native import resolve
from ..checkpoints.registry import load_generator
from ..directions.editing import edit
from ..errors import CycleError, InputError
from ..files.disk import sha256, write_atomically, write_json
from ..images.io import list_images, read_crop, save_image
from ..invert.generate import generate
from ..invert.settings import RefineSettings, TuneSettings
from ..invert.tune import tune
from ..measure.metrics import frechet_distance
from ..measure.selection import Networks, in_embedded_domain
from ..models.encoder import Encoder
from ..models.generator import Generator
from ..runtime.progress import StepCallback
from .measures import (
    Clock,
    Rulers,
    at_256,
    check_finite,
    edits,
    measure_code,
    photo_distortion,
    photo_rulers,
)
from .methods import BenchModels, ByEncoder, ByProjection, ByRefinement, Method, find
from .run import SHOWN, open_encoder, read_result, unlike
from .settings import PhotoSettings

SET = "photographs"
_SHOWN_EDITS = 2
_FEATURES = ".fid.safetensors"


@dataclass(frozen=True)
class Compared:
    """What `compare_photos` found; `report` makes tables of it.

    results: one for each method, as `run.compare` gives them, seconds as medians;
        facts["pictures"] names the pictures.
    failed: for each failure "picture", "method" and "reason".
    facts: which pictures, models, networks, directions and settings there were.
    sheets: picture -> (columns, method's title -> file of the strip).
    """

    results: list[dict[str, Any]]
    failed: list[dict[str, str]]
    facts: dict[str, Any]
    methods: dict[str, str]  # key -> title
    sheets: dict[str, tuple[list[str], dict[str, Path]]]


def compare_photos(
    out: str | Path,
    folder: str | Path,
    generator: str | Path,
    encoders: Mapping[str, str | Path] | None = None,
    directions: Sequence[str] = (),
    settings: PhotoSettings | None = None,
    progress: StepCallback | None = None,
) -> Compared:
    """Measure what `out` does not hold yet, and write out/report.json.

    folder: of crops, aligned as the generator's training pictures were. encoders: name -> path or
    embedded name; each is measured in all its spaces, and refined. directions: as `load_direction`
    takes them, not in StyleSpace; if none, the generator's strongest ones of SeFa.
    Raises, before anything is measured, MissingFileError, CheckpointError, MismatchError and
    InputError for models, directions and methods that cannot be used; at the end InputError where
    no picture could be measured at all."""
    settings = settings or PhotoSettings()
    out = Path(out)
    pictures = list_images(folder)[: settings.count]
    G = load_generator(generator, settings.device)
    bench = _prepare(out, G, directions, settings)
    spaces = {}
    for name, path in (encoders or {}).items():  # what cannot be used is said before hours are
        encoder = open_encoder(path, G)
        spaces[name] = encoder.spaces, "W" if encoder.stage == 0 else "W+"
        del encoder  # one of FFHQ's takes a gigabyte
    methods = _methods(spaces, settings)
    out.mkdir(parents=True, exist_ok=True)
    results: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    sheets = {path.name: (bench.columns(i), {}) for i, path in enumerate(pictures[:SHOWN])}
    for name in ("", *spaces):
        mine = [method for method in methods if method.encoder == name]
        E = open_encoder((encoders or {})[name], G) if name and mine else None
        origin = sha256(resolve((encoders or {})[name], "encoder")) if E else ""
        for method in mine:
            records = {}
            some = pictures[: settings.projected] if method.steps else pictures
            for i, path in enumerate(some):
                record = bench.record(method, E, origin, i, path)
                if "failed" in record:
                    reason = record["failed"]
                    failed.append({"picture": path.name, "method": method.key, "reason": reason})
                else:
                    records[path.name] = record
                    if path.name in sheets:
                        sheets[path.name][1][method.title] = bench.file(method, path, ".png")
                if progress is not None:
                    progress(method.title, i + 1, len(some))
            if records:
                result = _gather(method, records)
                if bench.rulers.inception is not None:
                    result["fid"] = bench.fid(method, [p for p in some if p.name in records])
                results.append(result)
    facts = bench.facts | {"folder": Path(folder).name, "pictures": len(pictures)}
    titles = {
        method.key: method.title for method in methods if method.encoder or settings.projected
    }
    compared = Compared(results, failed, facts, titles, sheets)
    write_json(out / "report.json", {"facts": facts, "results": results, "failed": failed})
    if not results:
        reason = failed[0]["reason"] if failed else "no method is left that measures one"
        raise InputError(f"None of the {len(pictures)} pictures could be measured: {reason}")
    return compared


# ------------------------------------------------------------------ one picture
@dataclass(frozen=True)
class _Bench:
    """What all pictures share. facts: of it, for the result files; another makes them anew.
    targets: the photographs' features for FID, as far as they are known."""

    out: Path
    G: Generator
    rulers: Rulers
    models: BenchModels  # without an encoder
    settings: PhotoSettings
    facts: dict[str, Any]
    targets: dict[Path, Tensor] = field(default_factory=dict)

    def file(self, method: Method, path: Path, ending: str) -> Path:
        return self.out / method.key / f"{path.name}{ending}"

    def columns(self, index: int) -> list[str]:
        """What the strip of a picture shows."""
        shown = self.rulers.directions[:_SHOWN_EDITS]
        moved = [f"{one.name} {self.settings.strength:+g}" for one in shown]
        return ["picture", "pivot", *["tuned"] * (index < self.settings.tuned), *moved]

    def record(
        self, method: Method, E: Encoder | None, origin: str, index: int, path: Path
    ) -> dict[str, Any]:
        """The numbers of one picture, measured now or before, or why there are none ("failed"),
        which is not kept: memory that was short may be there the next time."""
        tuned, file = index < self.settings.tuned, self.file(method, path, ".json")
        refining = E is not None and method.steps > 0
        facts = self.facts | {
            "method": method.key,
            "encoder": origin,
            "picture": _digest(path),
            "steps": method.steps,
            "refine": unlike(self.settings.refine, RefineSettings()) if refining else None,
            "tune": unlike(self.settings.tune, TuneSettings()) if tuned else None,
            "shown": self.columns(index) if index < SHOWN else None,
        }
        facts = json.loads(json.dumps(facts))  # as they are read again
        known, features = read_result(file, {"facts", "pivot"}), self.file(method, path, _FEATURES)
        seen = self.rulers.inception is None or features.is_file()
        if known is not None and known["facts"] == facts and seen:
            return known
        try:
            image = read_crop(path).to(self.G.device)
            record, strip, made = self.measure(method, E, image, tuned, shown=index < SHOWN)
        except CycleError as error:
            return {"failed": str(error)}
        file.parent.mkdir(parents=True, exist_ok=True)
        if strip is not None:
            save_image(strip, self.file(method, path, ".png"))
        if self.rulers.inception is not None:
            row = {"features": self.features(made)}
            write_atomically(features, lambda to: save_file(row, to))
        write_json(file, {"facts": facts, **record})
        return record

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """What FID compares of pictures float [N,3,256,256] in [-1,1]: [N, 2048], on the CPU."""
        assert self.rulers.inception is not None
        return torch.cat([self.rulers.inception(one).cpu() for one in images.split(1)])

    def fid(self, method: Method, paths: Sequence[Path]) -> dict[str, dict[str, float]]:
        """Frechet inception distances of a method's pictures to the photographs: of "pivot" and
        "tuned", where there are two pictures at least, "fid" and how many "pictures" it is of."""
        found: dict[str, dict[str, float]] = {}
        features = [_features_of(self.file(method, path, _FEATURES)) for path in paths]
        for row, state in enumerate(("pivot", "tuned")):
            some = [i for i, of_one in enumerate(features) if len(of_one) > row]
            if len(some) > 1:
                targets = [self.target(paths[i]) for i in some]
                made = torch.stack([features[i][row] for i in some])
                distance = frechet_distance(torch.stack(targets), made)
                found[state] = {"fid": distance, "pictures": len(some)}
        return found

    def target(self, path: Path) -> Tensor:
        """The features [2048] of a photograph, which all methods share."""
        if path not in self.targets:
            image = at_256(read_crop(path).to(self.G.device))
            self.targets[path] = self.features(image)[0]
        return self.targets[path]

    def measure(
        self, method: Method, E: Encoder | None, image: Tensor, tuned: bool, shown: bool
    ) -> tuple[dict[str, Any], Tensor | None, Tensor]:
        """(numbers, the strip of `columns` if shown, what was made [1 or 2,3,256,256], the tuned
        picture second) of a picture float [1,3,H,W] in [-1,1]."""
        G, rulers, strength = self.G, self.rulers, self.settings.strength
        perceptual = self.models.losses.perceptual
        target = at_256(image)
        with Clock(G.device) as clock:
            code = method.pivots(replace(self.models, encoder=E), image, method.steps, 0)
        made = [at_256(generate(G, code))]
        pivot = photo_distortion(rulers, target, made[0])
        pivot |= measure_code(rulers, G, E, code, strength)
        record: dict[str, Any] = {
            "pivot": {name: values[0] for name, values in pivot.items()},
            "edited": edits(rulers, G, code, strength),
            "costs": {"pivot": {"seconds": clock.seconds}},
        }
        if tuned:
            with Clock(G.device) as clock:
                result = tune(G, code, image, self.settings.tune, perceptual=perceptual)
            G = result.generator
            made.append(at_256(result.image))
            after = photo_distortion(rulers, target, made[1])
            record["tuned"] = {name: values[0] for name, values in after.items()}
            record["edited tuned"] = edits(rulers, G, code, strength)
            record["costs"]["tuned"] = {"seconds": clock.seconds}
        check_finite(record)
        pictures = torch.cat(made)
        if not shown:
            return record, None, pictures
        for direction in rulers.directions[:_SHOWN_EDITS]:
            made.append(at_256(generate(G, edit(code, direction, strength))))
        return record, torch.cat([target, *made], dim=3), pictures


# ------------------------------------------------------------------ parts
def _prepare(out: Path, G: Generator, names: Sequence[str], settings: PhotoSettings) -> _Bench:
    embedded = in_embedded_domain(G)
    rulers, measuring = photo_rulers(G, names, embedded)
    losses = Networks.for_loss(embedded)
    moves = torch.stack([direction.spread(G.num_ws) for direction in rulers.directions])
    facts = {
        "generator": G.fingerprint,
        "directions": [direction.name for direction in rulers.directions],
        "moves": hashlib.sha256(moves.numpy().tobytes()).hexdigest()[:16],
        "strength": settings.strength,
        "measured by": measuring,
        "losses": losses.names(),
    }
    models = BenchModels(G, None, losses.to(G.device))
    return _Bench(out, G, rulers, models, settings, facts)


def _methods(
    encoders: Mapping[str, tuple[tuple[str, ...], str]], settings: PhotoSettings
) -> list[Method]:
    """Those of the settings. encoders: name -> (its spaces, the one that was trained last)."""
    found = [
        Method(f"optimise-{space.lower()}", f"optimisation in {space}", "", space, settings.steps,
               ByProjection(space))
        for space in ("W", "W+")
    ]  # fmt: skip
    for name, (spaces, last) in encoders.items():
        for space in spaces:
            key, title = f"{name}-{space.lower()}", f"{name}, {space}"
            found.append(Method(key, title, name, space, 0, ByEncoder(space)))
        run, steps = ByRefinement(settings.refine), settings.refine.steps
        found.append(Method(f"{name}-refined", f"{name} + refinement", name, last, steps, run))
    keys = [method.key for method in found]
    for key in settings.methods or ():
        find(key, found)
    for key in keys:
        if keys.count(key) > 1:
            raise InputError(f"Two methods would be named {key}: give the encoder another name.")
    return [method for method in found if method.key in (settings.methods or keys)]


def _gather(method: Method, records: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """One result of all pictures, in the form of `run.measure`."""
    facts = {"method": method.key, "seed": 0, "set": SET, "pictures": list(records)}
    result: dict[str, Any] = {"facts": facts, "costs": {}}
    for part in ("pivot", "edited", "tuned", "edited tuned"):
        having = [record[part] for record in records.values() if part in record]
        names = having[0] if having else ()
        result[part] = {name: [numbers[name] for numbers in having] for name in names}
    for state in ("pivot", "tuned"):
        costs = [r["costs"][state] for r in records.values() if state in r["costs"]]
        if costs:
            result["costs"][state] = {"seconds": median(cost["seconds"] for cost in costs)}
    return result


def _features_of(path: Path) -> Tensor:
    """What `record` kept for FID: [1 or 2, 2048]."""
    try:
        return load_file(path)["features"]
    except (OSError, KeyError, SafetensorError) as error:
        raise InputError(f"{path} cannot be read: delete it, and it is made anew.") from error


def _digest(path: Path) -> str:
    try:
        return sha256(path)
    except OSError:
        return ""  # reading it will say why
