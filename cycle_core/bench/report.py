"""Tables, plots and side-by-side pictures of what `compare` measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import InputError, MissingFileError
from ..images import contact_sheet, read_image
from .intervals import Estimate, estimate
from .methods import METHODS
from .run import COLUMNS
from .sets import COUNTS

Result = dict[str, Any]
_Columns = dict[str, tuple[str, bool | None]]
# measure -> (heading, whether more is better; None: neither)
_DISTORTION: _Columns = {
    "mse": ("MSE", False),
    "lpips": ("LPIPS", False),
    "ms_ssim": ("MS-SSIM", True),
    "identity": ("identity", True),
}
_EDITS: _Columns = {
    "achieved": ("achieved", None),  # 1 is right
    "reached": ("reached", True),
    "unwanted": ("unwanted", False),
    "kept": ("identity kept", True),
    "true_mse": ("MSE to the true edit", False),
    "true_lpips": ("LPIPS to the true edit", False),
}
_PIVOT: _Columns = {"to_w": ("distance to W", False), "lec": ("LEC", False)}
TITLES = {
    "inside": "Portraits of the domain",
    "outside": "Portraits outside the domain",
    "person": "One person, one tuned generator",
}


def tables(results: Sequence[Result]) -> str:
    """Markdown: for every set what pivots are worth, and what they are worth after tuning. The best
    mean of each column is bold."""
    parts = []
    for name in COUNTS:
        of_set = [result for result in results if result["facts"]["set"] == name]
        if not of_set:
            continue
        parts.append(f"### {TITLES[name]}\n")
        for state, part, edits, more in (
            ("Pivots", "pivot", "edited", _PIVOT),
            ("After tuning", "tuned", "edited tuned", {}),
        ):
            for kind, columns in ((part, {**_DISTORTION, **more}), (edits, _EDITS)):
                counts = sorted({len(_any(result[kind])) for result in of_set} - {0})
                if counts:
                    number = " or ".join(map(str, counts))
                    parts.append(f"{state}{', edited' * (kind == edits)}, {number} pictures:\n")
                    parts.append(_table(of_set, kind, columns) + "\n")
        parts.append(f"Costs of a picture:\n\n{_costs(of_set)}\n")
    return "\n".join(parts)


def estimates(results: Sequence[Result], part: str, measure: str) -> dict[str, Estimate]:
    """{method: mean with interval} over the seeds that were measured, of one set."""
    found = {}
    for method in METHODS:
        values = [
            result[part][measure]
            for result in results
            if result["facts"]["method"] == method.key and measure in result[part]
        ]
        if values:
            found[method.key] = estimate(values)
    return found


def plot(results: Sequence[Result], path: str | Path) -> None:
    """The trade-off: distortion against editability, a line from each method's pivot to what tuning
    makes of it, one panel for each set. Raises InputError without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise InputError(
            "Plots need matplotlib: install it with `pip install matplotlib`, or leave --plot out."
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in COUNTS if any(r["facts"]["set"] == name for r in results)]
    figure, axes = pyplot.subplots(
        1, len(names), figsize=(6 * len(names), 5), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[0], names, strict=True):
        of_set = [result for result in results if result["facts"]["set"] == name]
        before = estimates(of_set, "pivot", "lpips"), estimates(of_set, "edited", "true_lpips")
        after = estimates(of_set, "tuned", "lpips"), estimates(of_set, "edited tuned", "true_lpips")
        for number, method in enumerate(METHODS):
            if method.key not in before[0]:
                continue
            color = f"C{number}"
            points = [
                (x[method.key], y[method.key])
                for x, y in (before, after)
                if method.key in x and method.key in y
            ]
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
                    label=method.title if marker == "o" else None,
                )
        axis.set_title(TITLES[name])
        axis.set_xlabel("distortion: LPIPS to the picture")
        axis.set_ylabel("error of an edit: LPIPS to the true edit")
    axes[0][-1].legend(fontsize=8, title="o pivot, * tuned")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def side_by_side(out: str | Path, results: Sequence[Result], name: str, picture: int) -> Tensor:
    """One picture of a set with every method, of the first training seed: float32 [1,3,H,W].

    out: the folder of `compare`. Raises MissingFileError where a picture is gone."""
    seed = min(result["facts"]["seed"] for result in results)
    rows, titles = [], []
    for method in METHODS:
        path = Path(out) / f"{method.key}-{seed}-{name}.png"
        if not any(_is(result, method.key, seed, name) for result in results):
            continue
        if not path.is_file():
            raise MissingFileError(f"There is no file {path}: delete its .json and compare again.")
        strip = read_image(path)
        side = strip.shape[-1] // len(COLUMNS)
        row = strip[:, :, side * picture : side * (picture + 1)]
        rows.append(list(row.split(side, dim=3)))
        titles.append(method.title)
    return contact_sheet(rows, COLUMNS, titles, TITLES[name], cell=128)


def _is(result: Result, method: str, seed: int, name: str) -> bool:
    facts = result["facts"]
    return (facts["method"], facts["seed"], facts["set"]) == (method, seed, name)


# ------------------------------------------------------------------ parts
def _table(results: Sequence[Result], part: str, columns: _Columns) -> str:
    found = {measure: estimates(results, part, measure) for measure in columns}
    found = {measure: values for measure, values in found.items() if values}
    best = {
        measure: (max if columns[measure][1] else min)(e.mean for e in values.values())
        for measure, values in found.items()
        if columns[measure][1] is not None
    }
    rows = [["method", *(columns[measure][0] for measure in found)], ["---"] * (len(found) + 1)]
    for method in METHODS:
        if not any(method.key in values for values in found.values()):
            continue
        cells = []
        for measure, values in found.items():
            if method.key not in values:
                cells.append("")
                continue
            value = values[method.key]
            cells.append(f"**{value}**" if value.mean == best.get(measure) else str(value))
        rows.append([method.title, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _costs(results: Sequence[Result]) -> str:
    lines = ["| method | pivot, s | pivot, MB | tuning, s | tuning, MB |", "| --- " * 5 + "|"]
    for method in METHODS:
        costs = [r["costs"] for r in results if r["facts"]["method"] == method.key]
        if not costs:
            continue
        cells = []
        for state in ("pivot", "tuned"):
            cells.append(f"{sum(c[state]['seconds'] for c in costs) / len(costs):.2f}")
            sizes = [c[state]["bytes"] for c in costs if c[state]["bytes"] is not None]
            cells.append(f"{max(sizes) / 1e6:.0f}" if sizes else "")
        lines.append(f"| {method.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _any(numbers: dict[str, list[float]]) -> list[float]:
    return next(iter(numbers.values()), [])
