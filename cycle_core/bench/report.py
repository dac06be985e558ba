"""Tables, plots and side-by-side pictures of what `compare` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError, MissingFileError
from ..images.io import read_image
from ..images.sheet import contact_sheet
from ..measure.metrics import METRICS
from .intervals import Estimate, estimate
from .methods import METHODS, PAIRS
from .run import COLUMNS

Result = dict[str, Any]
Columns = dict[str, tuple[str, bool | None]]
# measure -> (heading, whether more is better; None: neither)
_EDITS: Columns = {
    "achieved": ("achieved", None),  # 1 is right
    "reached": ("reached", True),
    "unwanted": ("unwanted", False),
    "kept": ("identity kept", True),
    "true_mse": ("MSE to the true edit", False),
    "true_lpips": ("LPIPS to the true edit", False),
}
_PIVOT: Columns = {"to_w": ("distance to mean W", None), "lec": ("LEC", False)}
TITLES = {
    "inside": "Portraits of the domain",
    "outside": "Portraits outside the domain",
    "person": "One person, one tuned generator",
}


# (part, measure, heading) of what a method is compared by with another
_PAIRED = (
    ("pivot", "lpips", "LPIPS"),
    ("pivot", "identity", "identity"),
    ("pivot", "to_w", "distance to mean W"),
    ("pivot", "lec", "LEC"),
    ("edited", "unwanted", "unwanted"),
    ("edited", "true_lpips", "LPIPS to the true edit"),
    ("edited tuned", "unwanted", "tuned: unwanted"),
    ("edited tuned", "true_lpips", "tuned: LPIPS to the true edit"),
)


def distortion_columns(headings: Mapping[str, str] | None = None) -> Columns:
    """The `METRICS` that compare; headings: of those that name their network, by its key."""
    return {
        one.key: ((headings or {}).get(one.network, one.title), one.more)
        for one in METRICS
        if one.compared
    }


@dataclass(frozen=True)
class Layout:
    """What is told, and in which order: the methods and the sets by their titles, the measures by
    their headings, and the measure of edits that the plot has, with the name of its axis; pairs of
    methods that are compared with each other."""

    methods: Mapping[str, str]
    sets: Mapping[str, str]
    distortion: Columns
    edits: Columns
    plotted: tuple[str, str]
    pairs: Sequence[tuple[str, str]] = ()


DOMAIN = Layout(
    {method.key: method.title for method in METHODS},
    TITLES,
    distortion_columns(),
    _EDITS,
    ("true_lpips", "error of an edit: LPIPS to the true edit"),
    PAIRS,
)


def tables(results: Sequence[Result], layout: Layout = DOMAIN) -> str:
    """Markdown: for every set what pivots are worth, and what they are worth after tuning. The best
    mean of each column is bold, and so is a difference whose interval leaves zero out."""
    parts = []
    for name, title in layout.sets.items():
        of_set = [result for result in results if result["facts"]["set"] == name]
        if not of_set:
            continue
        parts.append(f"### {title}\n")
        for state, part, edits, more in (
            ("Pivots", "pivot", "edited", _PIVOT),
            ("After tuning", "tuned", "edited tuned", {}),
        ):
            for kind, columns in ((part, {**layout.distortion, **more}), (edits, layout.edits)):
                counts = sorted({len(_any(result[kind])) for result in of_set} - {0})
                if counts:
                    number = " or ".join(map(str, counts))
                    parts.append(f"{state}{', edited' * (kind == edits)}, {number} pictures:\n")
                    parts.append(_table(of_set, kind, columns, layout) + "\n")
        rows = _differences(of_set, layout)
        if rows:
            text = "One method minus another, on the pictures and seeds that both have"
            parts.append(f"{text}:\n\n{rows}\n")
        parts.append(f"Costs of a picture:\n\n{_costs(of_set, layout)}\n")
    return "\n".join(parts)


def estimates(results: Sequence[Result], part: str, measure: str) -> dict[str, Estimate]:
    """{method: mean with interval} over the seeds that were measured, of one set."""
    found = {}
    for key in dict.fromkeys(result["facts"]["method"] for result in results):
        values = [
            result[part][measure]
            for result in results
            if result["facts"]["method"] == key and measure in result[part]
        ]
        if values:
            found[key] = estimate(values)
    return found


def difference(
    results: Sequence[Result], one: str, other: str, part: str, measure: str
) -> Estimate | None:
    """The mean of `one` minus `other`, of one set, paired by picture and training seed: it knows
    more than two intervals that overlap because pictures differ. None where either is missing."""
    values = [
        {
            result["facts"]["seed"]: result[part][measure]
            for result in results
            if result["facts"]["method"] == key and measure in result[part]
        }
        for key in (one, other)
    ]
    if not all(values):
        return None
    several = [of_seed.keys() for of_seed in values if len(of_seed) > 1]
    seeds = sorted(set.intersection(*map(set, several)) if several else values[0].keys())
    # what is not trained has one seed, which is compared with every one
    mine, theirs = (
        [of_seed.get(seed, next(iter(of_seed.values()))) for seed in seeds] for of_seed in values
    )
    count = min(len(row) for row in [*mine, *theirs])
    if not count:
        return None
    return estimate(
        [
            [a - b for a, b in zip(m[:count], t[:count], strict=True)]
            for m, t in zip(mine, theirs, strict=True)
        ]
    )


def plot(results: Sequence[Result], path: str | Path, layout: Layout = DOMAIN) -> None:
    """The trade-off: distortion against editability, a line from each method's pivot to what tuning
    makes of it, one panel for each set. Raises InputError without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise InputError(
            "Plots need matplotlib: install it with `pip install matplotlib`, or leave --plot out."
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    names = [name for name in layout.sets if any(r["facts"]["set"] == name for r in results)]
    edits, axis_name = layout.plotted
    figure, axes = pyplot.subplots(
        1, len(names), figsize=(6 * len(names), 5), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[0], names, strict=True):
        of_set = [result for result in results if result["facts"]["set"] == name]
        before = estimates(of_set, "pivot", "lpips"), estimates(of_set, "edited", edits)
        after = estimates(of_set, "tuned", "lpips"), estimates(of_set, "edited tuned", edits)
        for number, (key, title) in enumerate(layout.methods.items()):
            if key not in before[0]:
                continue
            color = f"C{number}"
            points = [(x[key], y[key]) for x, y in (before, after) if key in x and key in y]
            axis.plot([x.mean for x, _ in points], [y.mean for _, y in points], color=color, lw=1)
            for (x, y), marker in zip(points, ("o", "*"), strict=False):
                axis.errorbar(
                    x.mean,
                    y.mean,
                    xerr=[[x.mean - x.low], [x.high - x.mean]],
                    yerr=[[y.mean - y.low], [y.high - y.mean]],
                    fmt=marker,
                    color=color,
                    markersize=10 if marker == "*" else 6,
                    elinewidth=0.7,
                    label=title if marker == "o" else None,
                )
        axis.set_title(layout.sets[name])
        axis.set_xscale("log")
        if layout.edits[edits][1] is False:  # an error, as the distortion is
            axis.set_yscale("log")
        for scale in (axis.xaxis, axis.yaxis):
            if scale.get_scale() == "log":
                scale.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
                scale.set_major_formatter(ticker.FormatStrFormatter("%g"))
                scale.set_minor_formatter(ticker.NullFormatter())
        axis.set_xlabel("distortion: LPIPS to the picture")
        axis.set_ylabel(axis_name)
    axes[0][-1].legend(fontsize=8, title="o pivot, * tuned")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def side_by_side(out: str | Path, results: Sequence[Result], name: str, picture: int) -> Tensor:
    """One picture of a set with every method, of the first training seed: float32 [1,3,H,W].

    out: the folder of `compare`. Raises MissingFileError where a picture is gone."""
    seed = min(result["facts"]["seed"] for result in results)
    strips = {
        method.title: Path(out) / f"{method.key}-{seed}-{name}.png"
        for method in METHODS
        if any(_is(result, method.key, seed, name) for result in results)
    }
    return stacked(strips, COLUMNS, TITLES[name], picture)


def stacked(
    strips: Mapping[str, Path], columns: Sequence[str], title: str, number: int = 0
) -> Tensor:
    """A sheet float32 [1,3,H,W] of one strip of square pictures for each row's label: the one
    `number` in a file of several, one under the other. Raises MissingFileError."""
    rows = []
    for path in strips.values():
        if not path.is_file():
            raise MissingFileError(f"There is no file {path}: delete its .json and compare again.")
        strip = read_image(path)
        side = strip.shape[-1] // len(columns)
        row = strip[:, :, side * number : side * (number + 1)]
        rows.append(list(row.split(side, dim=3)))
    return contact_sheet(rows, columns, list(strips), title, cell=128)


def _is(result: Result, method: str, seed: int, name: str) -> bool:
    facts = result["facts"]
    return (facts["method"], facts["seed"], facts["set"]) == (method, seed, name)


# ------------------------------------------------------------------ parts
def _table(results: Sequence[Result], part: str, columns: Columns, layout: Layout) -> str:
    found = {measure: estimates(results, part, measure) for measure in columns}
    found = {measure: values for measure, values in found.items() if values}
    best = {
        measure: (max if columns[measure][1] else min)(e.mean for e in values.values())
        for measure, values in found.items()
        if columns[measure][1] is not None
    }
    rows = [["method", *(columns[measure][0] for measure in found)], ["---"] * (len(found) + 1)]
    for key, title in layout.methods.items():
        if not any(key in values for values in found.values()):
            continue
        cells = []
        for measure, values in found.items():
            if key not in values:
                cells.append("")
                continue
            value = values[key]
            cells.append(f"**{value}**" if value.mean == best.get(measure) else str(value))
        rows.append([title, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _differences(results: Sequence[Result], layout: Layout) -> str:
    heads = [heading for _, _, heading in _PAIRED]
    rows = [["", *heads], ["---"] * (len(heads) + 1)]
    for one, other in layout.pairs:
        found = [difference(results, one, other, part, measure) for part, measure, _ in _PAIRED]
        if any(found):
            cells = ["" if value is None else _signed(value) for value in found]
            rows.append([f"{layout.methods[one]} − {layout.methods[other]}", *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) if len(rows) > 2 else ""


def _signed(value: Estimate) -> str:
    text = f"{'+' if value.mean > 0 else ''}{value}"
    return f"**{text}**" if value.low > 0 or value.high < 0 else text


def _costs(results: Sequence[Result], layout: Layout) -> str:
    columns = ["pivot, s", "tuning, s"]
    rows = [["method", *columns], ["---"] * (1 + len(columns))]
    for key, title in layout.methods.items():
        mine = [r for r in results if r["facts"]["method"] == key]
        if not mine:
            continue
        seconds = []
        for state in ("pivot", "tuned"):
            known = [r["costs"][state]["seconds"] for r in mine if state in r["costs"]]
            seconds.append(_seconds(sum(known) / len(known)) if known else "")
        rows.append([title, *seconds])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _seconds(count: float) -> str:
    return f"{count:.2f}" if count >= 0.1 else f"{count:.2g}"


def _any(numbers: dict[str, list[float]]) -> list[float]:
    return next(iter(numbers.values()), [])
