"""Run the comparison: every method on every set, before and after tuning, one result file each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..checkpoints.registry import load_encoder, load_generator
from ..codes import Code
from ..directions.editing import edit
from ..errors import CheckpointError, InputError, MissingFileError
from ..files.disk import write_atomically, write_json
from ..files.json import read_json
from ..images.io import save_image
from ..invert.checks import check_pair
from ..invert.generate import generate
from ..invert.settings import RefineSettings, TuneSettings
from ..invert.tune import tune
from ..measure.selection import Networks
from ..models.blend import lower_blocks
from ..models.encoder import Encoder
from ..models.generator import Generator
from .measures import (
    Clock,
    Numbers,
    Rulers,
    check_finite,
    distortion,
    editability,
    measure_code,
)
from .methods import METHODS, BenchModels, Method, find
from .sets import NAMES, TestSet, open_set
from .settings import BenchSettings

_PARTS = frozenset(("facts", "pivot", "tuned", "edited"))
NUMBERS = "numbers.json"
_MEASURED = {str: [float]}
_RESULT = {
    **dict.fromkeys(("pivot", "tuned", "edited"), _MEASURED),
    "edited tuned?": _MEASURED,
    "costs?": {str: {"seconds": float}},
    "facts": {
        **dict.fromkeys(("seed", "pictures", "edited", "tuned", "steps"), int),
        **dict.fromkeys(("method", "set", "tuning"), str),
        "generator?": str,
        "quick?": bool,
        "size?": int,
    },
}
SHOWN = 3  # pictures of each set
SHOWN_EDITS = ("yaw", "age")  # by one standard deviation, beside the true edit
COLUMNS = ("picture", "pivot", "tuned", *(
    column for name in SHOWN_EDITS for column in (f"{name} edited", f"{name}, true")
))  # fmt: skip
Settings = TypeVar("Settings", TuneSettings, RefineSettings)


def compare(
    out: str | Path,
    settings: BenchSettings | None = None,
    encoders: str | Path | None = None,
    sets: str | Path | None = None,
    say: Callable[[str], object] | None = None,
) -> list[dict[str, Any]]:
    """Measure what `out` does not hold yet; gives all its results: those of `measure`, with "facts"
    (of what). They are also in out/numbers.json, short enough to be kept in a repository, and alone
    enough to go on from, with more trainings for example. Other seeds may be measured into the same
    folder at the same time; who asks for all of them then has numbers.json of all.

    encoders: a folder of `cycle-core train encoder` runs named TRAINING-SEED, such as `cycle-0` and
    `w+-2`; without one, the embedded encoder is the only one, and methods that need another
    training are refused. sets: a folder of larger test sets than those of the package.
    say(sentence): what is under way.
    Raises InputError, MissingFileError for a training or a set that is not there."""
    settings = settings or BenchSettings()
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    say = say or (lambda sentence: None)
    G = load_generator("portraits", settings.device)
    if settings.size:
        G = lower_blocks(G, settings.size)
    losses = Networks.for_loss(embedded=True).to(settings.device)
    cells = [(*cell, _facts(*cell, settings, G)) for cell in _cells(settings)]
    numbers = out / NUMBERS
    for result in read_numbers(numbers) if numbers.is_file() else ():
        path = out / f"{_name(result['facts'])}.json"
        if read_result(path) is None:  # the file of all is soon written with these cells alone
            write_json(path, result)
    found = [_known(out, facts) for *_, facts in cells]
    missing = [cell for cell, result in zip(cells, found, strict=True) if result is None]
    for training, seed in {(method.encoder, seed) for method, seed, *_ in missing}:
        _encoder(encoders, training, seed, G)  # what is missing is said before hours are spent
    tests = {
        name: open_set(name, settings.pictures(name), sets).resized(G.resolution) for name in NAMES
    }
    rulers = Rulers.load(G, tests[NAMES[0]].attributes)
    results = []
    for number, ((method, seed, name, wanted), result) in enumerate(
        zip(cells, found, strict=True), 1
    ):
        if result is None:
            path = out / f"{_name(wanted)}.json"
            say(f"{number} of {len(cells)}: {method.title}, seed {seed}, {name}")
            encoder = _encoder(encoders, method.encoder, seed, G)
            real = tests["inside"].images[settings.projected :].to(settings.device)
            models = BenchModels(G, encoder, losses, real)
            result, pictures = measure(method, models, tests[name], rulers, settings, seed)
            result["facts"] = wanted
            if pictures is not None:
                save_image(pictures, path.with_suffix(".png"))
            write_json(path, result)
        results.append(result)
    write_numbers(results, out / NUMBERS)
    return results


def measure(
    method: Method,
    models: BenchModels,
    test: TestSet,
    rulers: Rulers,
    settings: BenchSettings,
    seed: int,
) -> tuple[dict[str, Any], Tensor | None]:
    """One method on one set: ({"pivot": Numbers, "tuned": Numbers, "edited": Numbers,
    "edited tuned": Numbers, "costs": {"pivot" and "tuned": {"seconds": of a picture}}}, strips of
    the first pictures).

    "edited" is of the first `settings.edited` pictures, "tuned" of the first `settings.tuned`. Of
    one person all pivots tune one generator, so that "tuned" holds all pictures."""
    G = models.generator
    steps = _steps(method, settings)
    if steps:
        test = test.part(0, settings.projected)
    with Clock(G.device) as clock:
        code = method.pivots(models, test.images.to(G.device), steps, seed)
    costs = {"pivot": {"seconds": clock.seconds / len(test)}}
    image = generate(G, code)
    pivot: Numbers = distortion(rulers, test.images.to(G.device), image)
    pivot |= measure_code(rulers, G, models.encoder, code)
    edited = _edits(rulers, [G] * len(test), code, test.part(0, settings.edited))
    with Clock(G.device) as clock:
        tuned, generators = _tune(models, code, test, rulers, settings, method, seed)
    costs["tuned"] = {"seconds": clock.seconds / max(len(generators), 1)}
    after = _edits(rulers, generators, code, test.part(0, len(generators)))
    result = {
        "pivot": pivot,
        "tuned": tuned,
        "edited": edited,
        "edited tuned": after,
        "costs": costs,
    }
    check_finite(result)
    return result, _pictures(rulers, G, generators, code, test)


def _tune(
    models: BenchModels,
    code: Code,
    test: TestSet,
    rulers: Rulers,
    settings: BenchSettings,
    method: Method,
    seed: int,
) -> tuple[Numbers, list[Generator]]:
    """(distortion after tuning, the generator of every tuned picture)"""
    G = models.generator
    steps = _tuning(method, settings, G)
    if test.name == "person":
        groups = [list(range(len(test)))]
    else:
        groups = [[i] for i in range(min(settings.tuned, len(test)))]
    numbers: Numbers = {}
    generators: list[Generator] = []
    for rows in groups:
        target = test.images[rows].to(G.device)
        part = code.with_w(code.w[rows])
        tuned = tune(G, part, target, steps, seed=seed, perceptual=models.losses.perceptual)
        for name, values in distortion(rulers, target, tuned.image).items():
            numbers.setdefault(name, []).extend(values)
        generators += [tuned.generator] * len(rows)
    return numbers, generators


def _edits(rulers: Rulers, generators: Sequence[Generator], code: Code, test: TestSet) -> Numbers:
    """Editability of the codes of `test`, each with its generator."""
    numbers: Numbers = {}
    for i in range(len(test)):
        alone = test.part(i, i + 1)
        for name, values in editability(rulers, generators[i], code.one(i), alone).items():
            numbers.setdefault(name, []).extend(values)
    return numbers


def _pictures(
    rulers: Rulers, G: Generator, generators: Sequence[Generator], code: Code, test: TestSet
) -> Tensor | None:
    rows = []
    for i in range(min(SHOWN, len(generators))):
        one, cells = code.one(i), [test.images[i]]
        cells += [generate(by, one)[0].cpu() for by in (G, generators[i])]
        for name in SHOWN_EDITS:
            j = test.attributes.index(name)
            moved = edit(one, rulers.directions[j], float(test.signs[i, j]))
            cells += [generate(generators[i], moved)[0].cpu(), test.edited[i, j]]
        rows.append(torch.cat(cells, dim=2))
    return torch.cat(rows, dim=1)[None] if rows else None


# ------------------------------------------------------------------ parts
def _cells(settings: BenchSettings) -> Iterator[tuple[Method, int, str]]:
    """(method, training seed, set), all of one seed before the next; what is not trained has one
    seed only."""
    for seed in settings.seeds:
        for key in settings.methods or [one.key for one in METHODS]:
            method = find(key)
            if not method.encoder and seed != settings.seeds[0]:
                continue
            for name in NAMES:
                alone = name == "person" and method.detail_steps  # one map is of one picture
                if settings.pictures(name) and not alone:
                    yield method, seed, name


def _encoder(folder: str | Path | None, training: str, seed: int, G: Generator) -> Encoder | None:
    """The encoder of a training; None for the methods that need none."""
    if not training:
        return None
    path: str | Path = "portraits"
    if folder is not None:
        path = Path(folder) / f"{training}-{seed}" / "encoder.safetensors"
        if not path.is_file():
            raise MissingFileError(
                f"There is no encoder {path}: train it, docs/results.md has the commands."
            )
    elif training != "cycle" or seed != 0:
        raise InputError(
            f"The encoder {training}-{seed} is not part of the package: train it and give the "
            "folder of the runs as `encoders`; docs/results.md has the commands."
        )
    return open_encoder(path, G)


def open_encoder(path: str | Path, G: Generator) -> Encoder:
    """An encoder of the generator's codes. Raises as `load_encoder`, and MismatchError."""
    encoder = load_encoder(path, G.device, G)
    check_pair(encoder, G)
    return encoder


def _known(out: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """The result in `out` that was made of this, None where there is none."""
    result = read_result(out / f"{_name(facts)}.json")
    return result if result is not None and result["facts"] == facts else None


def _name(facts: Mapping[str, Any]) -> str:
    return f"{facts['method']}-{facts['seed']}-{facts['set']}"


def _facts(
    method: Method, seed: int, name: str, settings: BenchSettings, G: Generator
) -> dict[str, Any]:
    """What a result was made of; another setting makes it anew."""
    steps, pictures = _steps(method, settings), settings.pictures(name)
    return {
        "method": method.key,
        "seed": seed,
        "set": name,
        "pictures": min(pictures, settings.projected) if steps else pictures,
        "edited": settings.edited,
        "tuned": settings.tuned,
        "tuning": unlike(_tuning(method, settings, G), TuneSettings()),
        "generator": G.fingerprint,
        "steps": steps,
        **({"size": settings.size} if settings.size else {}),
        **({"quick": True} if settings.share < 1 else {}),
    }


def unlike(settings: Settings, default: Settings) -> str:
    """What differs from the defaults: settings that come later do not make results void."""
    mine, theirs = asdict(settings), asdict(default)
    return ", ".join(f"{name}={mine[name]}" for name in mine if mine[name] != theirs[name])


def _steps(method: Method, settings: BenchSettings) -> int:
    """How often a method looks at each picture."""
    return max(1, round(method.steps * settings.share)) if method.steps else 0


def _tuning(method: Method, settings: BenchSettings, G: Generator) -> TuneSettings:
    """Of a method; the map of the detail has a quarter of the picture's size, as at 256 px."""
    if not method.detail_steps:
        return settings.tune
    steps = max(1, round(method.detail_steps * settings.share))
    return replace(settings.tune, detail_steps=steps, detail_size=G.resolution // 4)


def read_result(path: Path, parts: Set[str] = _PARTS) -> dict[str, Any] | None:
    """What a file holds, None where there is none or one without these parts.

    Raises CheckpointError for another file."""
    if not path.is_file():
        return None
    try:
        result = read_json(path)
        return result if parts <= result.keys() else None
    except InputError as error:
        raise CheckpointError(
            f"{path} is no result of this comparison: delete it, and it is made anew."
        ) from error


def write_numbers(results: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """All results as JSON, five digits of a number and one line for each list of numbers."""

    def text(value: Any, indent: str = "") -> str:
        if isinstance(value, Mapping) and value:
            inner = indent + " "
            items = (f"{inner}{json.dumps(k)}: {text(v, inner)}" for k, v in value.items())
            return "{\n" + ",\n".join(items) + f"\n{indent}}}"
        if isinstance(value, list):
            return f"[{', '.join(map(text, value))}]"
        return f"{value:.5g}" if isinstance(value, float) else json.dumps(value)

    whole = "[\n" + ",\n".join(map(text, results)) + "\n]\n"
    write_atomically(path, lambda to: to.write_text(whole, encoding="utf-8"))


def read_numbers(path: str | Path) -> list[dict[str, Any]]:
    """What `write_numbers` wrote. Raises MissingFileError, and CheckpointError for another file."""
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}: `cycle-core bench` writes {NUMBERS}.")
    try:
        results = read_json(path, [_RESULT])
        for facts in (result["facts"] for result in results):
            find(facts["method"])
            if facts["set"] not in NAMES:
                raise InputError(f"There is no set {facts['set']}.")
    except InputError as error:
        raise CheckpointError(
            f"{path} does not hold the numbers of a comparison: give {NUMBERS}."
        ) from error
    return results
