"""Where the detail of a tuned generator should be when its code is edited. Prints a table.

    python benchmarks/detail.py --pictures 10
    python benchmarks/detail.py --pictures 10 --card docs/results.md --sheet docs/images/detail.jpg

Portraits inside the domain and outside of it are refined and tuned once, by the preset `embedded`;
then every attribute is moved by a strength of 1, which is meant to be one deviation, with the map
of detail staying in its place, moving along (what `tune` does) and left out. Edits are judged
against the renders of the true ones, in which the attribute has moved by one deviation.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean

import torch
import torch.nn.functional as F

from cycle_core.bench.measures import Rulers
from cycle_core.bench.report import put
from cycle_core.bench.sets import TestSet, open_set
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.codes import Code
from cycle_core.directions.editing import edit
from cycle_core.images.io import save_image
from cycle_core.images.sheet import contact_sheet
from cycle_core.invert.generate import generate
from cycle_core.invert.refine import refine
from cycle_core.invert.settings import REFINE_PRESETS, TUNE_PRESETS
from cycle_core.invert.tune import Tuned, tune
from cycle_core.measure import metrics
from cycle_core.models.generator import Generator

MEASURES = (  # heading, measure
    ("achieved", "achieved"),
    ("unwanted", "unwanted"),
    ("identity kept", "kept"),
    ("MSE to the true edit", "true_mse"),
    ("LPIPS to the true edit", "true_lpips"),
)
SHOWN = ("yaw", "pitch")  # in the sheet, of the first portrait and of the first two outside


class Ways:
    """A tuned generator with its detail in its place, moving along, and without it."""

    names = ("stays", "moves", "left out")

    def __init__(self, tuned: Tuned):
        self.synthesis, self.G = tuned.generator.synthesis, tuned.generator
        assert self.synthesis.detail is not None
        self.detail, self.code = self.synthesis.detail, self.synthesis.detail_code

    def __call__(self, name: str) -> Generator:
        self.synthesis.detail = None if name == "left out" else self.detail
        self.synthesis.detail_code = self.code if name == "moves" else None
        return self.G


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=10, help="of each set")
    parser.add_argument("--sets", type=Path, help="a folder of `make sets`; else the embedded ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--card", type=Path, help="a Markdown file that the tables go into")
    parser.add_argument("--sheet", type=Path, help="a picture of some edits")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    lines: list[str] = []
    G, E = load_generator("portraits"), load_encoder("portraits")
    rows: list[list[torch.Tensor]] = []
    for name in ("inside", "outside"):
        people = open_set(name, a.pictures, a.sets)
        rulers = Rulers.load(G, people.attributes)
        found: dict[tuple[str, str, str], list[float]] = {}
        seconds: dict[str, list[float]] = {way: [] for way in Ways.names}
        for i in range(len(people)):
            one = people.part(i, i + 1)
            pivot = refine(E, G, one.images, REFINE_PRESETS["embedded"])
            tuned = tune(G, pivot, one.images, TUNE_PRESETS["embedded"])
            ways = Ways(tuned)
            for way in Ways.names:
                began = time.process_time()
                for measure, values in edits(rulers, ways(way), tuned.pivot, one).items():
                    for attribute, value in zip(people.attributes, values.tolist(), strict=True):
                        found.setdefault((attribute, way, measure), []).append(value)
                seconds[way].append(time.process_time() - began)
            if i < 1 + (name == "outside"):
                rows += shown(rulers, ways, tuned, one)
        lines += (more := table(name, found))
        print("\n".join(more), flush=True)
        print({way: f"{mean(values):.1f} s a person" for way, values in seconds.items()})
    if a.card is not None:
        put("\n".join(lines), a.card, "detail")
    if a.sheet is not None:
        columns = ["tuned", "true edit", *(f"detail {way}" for way in Ways.names)]
        labels = [*SHOWN] * (len(rows) // len(SHOWN))
        save_image(contact_sheet(rows, columns, labels, cell=256), a.sheet)


@torch.no_grad()
def edits(rulers: Rulers, G: Generator, pivot: Code, person: TestSet) -> dict[str, torch.Tensor]:
    """What moving each attribute by a strength of 1 does: measure -> one number for each.

    The codes are the same in every way, so that only the detail differs."""
    reader, signs = rulers.attributes, person.signs[0]
    assert reader is not None  # in the embedded domain
    names = reader.config.names
    unit = person.deviations[[person.table.index(name) for name in names]]
    steps = zip(rulers.directions, signs.tolist(), strict=True)
    moved = [edit(pivot, direction, sign) for direction, sign in steps]
    before = generate(G, pivot)
    image = generate(G, pivot.with_w(torch.cat([code.w for code in moved]), moved[0].space))
    change = (reader.factors(image) - reader.factors(before)) / unit  # [E, A]
    own = F.one_hot(torch.tensor([names.index(name) for name in person.attributes]), len(names))
    others = change.square().masked_fill(own.bool(), 0).sum(1) / (len(names) - 1)
    truth, networks = person.edited[0], rulers.networks
    return {
        "achieved": (change * own).sum(1) * signs,
        "unwanted": others.sqrt(),
        "kept": metrics.identity(before.expand_as(image), image, networks.identity),
        "true_mse": metrics.mse(truth, image),
        "true_lpips": metrics.lpips(truth, image, networks.perceptual),
    }


def table(name: str, found: dict[tuple[str, str, str], list[float]]) -> list[str]:
    attributes = list(dict.fromkeys(attribute for attribute, _, _ in found))
    cells = {key: mean(values) for key, values in found.items()}
    heads = [f"{title}: {', '.join(Ways.names)}" for title, _ in MEASURES]
    lines = [f"| {name} the domain | {' | '.join(heads)} |", "| --- " * (1 + len(heads)) + "|"]
    for attribute in [*attributes, "all"]:
        of = attributes if attribute == "all" else [attribute]
        row = [
            " ".join(f"{mean(cells[x, way, key] for x in of):.4f}" for way in Ways.names)
            for _, key in MEASURES
        ]
        lines.append(f"| {attribute} | {' | '.join(row)} |")
    return [*lines, ""]


@torch.no_grad()
def shown(rulers: Rulers, ways: Ways, tuned: Tuned, person: TestSet) -> list[list[torch.Tensor]]:
    """Rows of pictures: the tuned one, the true edit, and what the ways render."""
    rows = []
    for attribute in SHOWN:
        i = person.attributes.index(attribute)
        moved = edit(tuned.pivot, rulers.directions[i], float(person.signs[0, i]))
        rendered = [generate(ways(way), moved) for way in Ways.names]
        rows.append([tuned.image, person.edited[:, i], *rendered])
    return rows


if __name__ == "__main__":
    main()
