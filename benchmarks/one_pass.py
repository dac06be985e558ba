"""What one pass of the detail encoder is worth beside the steps of tuning. Prints a table.

    python benchmarks/one_pass.py
    python benchmarks/one_pass.py --card docs/results.md --sheet docs/images/one-pass.jpg

Portraits inside the domain and outside of it are inverted in several ways; then every attribute is
moved by a strength of 1, and what comes of it is compared with the render of the true edit.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from detail import edits

from cycle_core.bench.measures import Rulers
from cycle_core.bench.report import put
from cycle_core.bench.sets import open_set
from cycle_core.checkpoints.registry import load_encoder, load_generator
from cycle_core.codes import Code
from cycle_core.directions.editing import edit
from cycle_core.images.io import save_image
from cycle_core.images.sheet import contact_sheet
from cycle_core.invert.encode import encode
from cycle_core.invert.generate import generate
from cycle_core.invert.refine import refine
from cycle_core.invert.settings import REFINE_PRESETS, TUNE_PRESETS
from cycle_core.invert.tune import tune
from cycle_core.measure import metrics

_TUNED, _PASS = TUNE_PRESETS["embedded"], TUNE_PRESETS["instant"]
_NONE = replace(_PASS, detail_predicted=False)
WAYS = {  # name: (whether the pivot is refined, how the generator is tuned)
    "encoded": (False, _NONE),
    "encoded, one pass": (False, _PASS),  # the preset `instant`
    "encoded, one pass, 40 steps": (False, _PASS.in_steps(40)),
    "refined": (True, _NONE),
    "refined, one pass": (True, _PASS),
    "refined, tuned": (True, _TUNED),  # the preset `embedded`
}
COLUMNS = (  # heading, key
    ("seconds", "seconds"),
    ("LPIPS", "lpips"),
    ("MSE", "mse"),
    ("LPIPS to the true edit", "true_lpips"),
    ("of yaw", "yaw"),
    ("achieved", "achieved"),
    ("unwanted", "unwanted"),
    ("identity kept", "kept"),
)
SHOWN = 3  # people of each set in the sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=7, help="of each set")
    parser.add_argument("--sets", type=Path, help="a folder of `make sets`; else the embedded ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--card", type=Path, help="a Markdown file that the tables go into")
    parser.add_argument("--sheet", type=Path, help="a picture of some of them")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    G, E = load_generator("portraits"), load_encoder("portraits")
    lines: list[str] = []
    rows: list[list[torch.Tensor]] = []
    for name in ("inside", "outside"):
        people = open_set(name, a.pictures, a.sets)
        rulers = Rulers.load(G, people.attributes)
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for i in range(len(people)):
            one, pictures, edited = people.part(i, i + 1), [], []
            yaw = people.attributes.index("yaw")
            clock = [time.process_time()]
            pivots: list[Code] = [encode(E, one.images)]
            clock.append(time.process_time())
            pivots.append(refine(E, G, one.images, REFINE_PRESETS["embedded"]).code)
            clock.append(time.process_time())
            for way, (refined, settings) in WAYS.items():
                began = time.process_time()
                tuned = tune(G, pivots[refined], one.images, settings)
                seconds = time.process_time() - began + clock[refined + 1] - clock[refined]
                measured = edits(rulers, tuned.generator, tuned.pivot, one)
                found[way].append(
                    {key: float(values.mean()) for key, values in measured.items()}
                    | {
                        "yaw": float(measured["true_lpips"][yaw]),
                        "lpips": float(
                            metrics.lpips(one.images, tuned.image, rulers.networks.perceptual)
                        ),
                        "mse": float(metrics.mse(one.images, tuned.image)),
                        "seconds": seconds,
                    }
                )
                pictures.append(tuned.image)
                moved = edit(tuned.pivot, rulers.directions[yaw], float(one.signs[0, yaw]))
                edited.append(generate(tuned.generator, moved))
            if i < SHOWN:
                rows += [[one.images, *pictures], [one.edited[:, yaw], *edited]]
        lines += [
            f"| {name} the domain | {' | '.join(heading for heading, _ in COLUMNS)} |",
            "| --- " * (1 + len(COLUMNS)) + "|",
            *(
                f"| {way} | "
                + " | ".join(f"{median(one[key] for one in found[way]):.4g}" for _, key in COLUMNS)
                + " |"
                for way in WAYS
            ),
            "",
        ]
        print("\n".join(lines[-len(WAYS) - 3 :]), flush=True)
    if a.card is not None:
        put("\n".join(lines), a.card, "one-pass")
    if a.sheet is not None:
        labels = ["picture", "turned"] * (len(rows) // 2)
        sheet = contact_sheet(rows, ["true", *WAYS], labels, cell=256)
        save_image(sheet, a.sheet)


if __name__ == "__main__":
    main()
