"""Tables, plots and side-by-side pictures of what `compare` and `compare_photos` measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from ..errors import InputError, MissingFileError
from ..files.disk import write_atomically
from ..images.io import read_image
from ..images.sheet import contact_sheet
from ..measure.metrics import METRICS
from .measures import CODE_MEASURES
from .methods import METHODS
from .photos import SET, Compared
from .questions import Result, answered, markdown
from .run import COLUMNS
from .statistics import Estimate, estimate

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
_PIVOT: Columns = {one.key: (one.title, one.more) for one in CODE_MEASURES}
QUICK_SAYS = (
    "**A quick look, not a comparison**: few pictures, one training, a part of the steps of every "
    "method. It shows that everything runs; differences here may have the other sign than those of "
    "the whole comparison."
)
ANSWERS_SAY = (
    "The questions, each by one method minus another on the pictures and trainings that both have, "
    "with 95 % intervals for new pictures and new trainings, and p values that Holm's correction "
    "makes hold for all of them together:"
)
TITLES = {
    "inside": "Portraits of the domain",
    "outside": "Portraits outside the domain",
    "person": "One person, one tuned generator",
}


def distortion_columns(headings: Mapping[str, str] | None = None) -> Columns:
    """The `METRICS` that compare; headings: of those that name their network, by its key."""
    return {
        one.key: ((headings or {}).get(one.network, one.title), one.more)
        for one in METRICS
        if one.compared
    }


@dataclass(frozen=True)
class ReportLayout:
    """What is reported, and in which order: the methods and the sets by their titles, the measures
    by their headings, and the measure of edits that the plot has, with the name of its axis."""

    methods: Mapping[str, str]
    sets: Mapping[str, str]
    distortion: Columns
    edits: Columns
    plotted: tuple[str, str]


DOMAIN = ReportLayout(
    {method.key: method.title for method in METHODS},
    TITLES,
    distortion_columns(),
    _EDITS,
    ("true_lpips", "error of an edit: LPIPS to the true edit"),
)


def tables(results: Sequence[Result], layout: ReportLayout = DOMAIN) -> str:
    """Markdown: the answers to the questions, then for every set what pivots are worth, and what
    they are worth after tuning. Means of a table are over the pictures that all its methods have.

    Results of few pictures, one training or fewer steps than a method's own are no comparison: that
    is said, and they answer no question."""
    parts = []
    if any(result["facts"].get("quick") for result in results):
        parts.append(f"{QUICK_SAYS}\n")
    elif text := answered(results):
        parts.append(f"{ANSWERS_SAY}\n\n{text}\n")
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
                count = _shared(of_set, kind)
                if count:
                    parts.append(f"{state}{', edited' * (kind == edits)}, {count} pictures:\n")
                    parts.append(_table(of_set, kind, columns, layout) + "\n")
        parts.append(f"Costs of a picture:\n\n{_costs(of_set, layout)}\n")
    return "\n".join(parts)


def estimates(results: Sequence[Result], part: str, measure: str) -> dict[str, Estimate]:
    """{method: mean with interval} over the seeds that were measured, of one set, over the first
    pictures, which all methods have."""
    found, count = {}, _shared(results, part)
    for key in dict.fromkeys(result["facts"]["method"] for result in results):
        values = [
            result[part][measure][:count]
            for result in results
            if result["facts"]["method"] == key and measure in result[part]
        ]
        if values and count:
            found[key] = estimate(values)
    return found


def plot(results: Sequence[Result], path: str | Path, layout: ReportLayout = DOMAIN) -> None:
    """The trade-off: distortion against editability, a line from each method's pivot to what tuning
    makes of it, one panel for each set. Raises InputError without matplotlib."""
    try:
        import matplotlib
    except ImportError as error:
        raise InputError(
            "Plots need matplotlib: install it with `pip install matplotlib`, or do without a plot."
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
            color = pyplot.get_cmap("tab20")(number)
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
    lines = [axis.get_legend_handles_labels() for axis in axes[0]]  # not every set has all methods
    named = {label: line for both in lines for line, label in zip(*both, strict=True)}
    shown = [title for title in layout.methods.values() if title in named]
    figure.legend(
        [named[title] for title in shown], shown,
        loc="outside lower center", ncols=5, fontsize=8, title="o pivot, * tuned",
    )  # fmt: skip
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def put(text: str, path: str | Path, name: str) -> None:
    """Replace what stands between `<!-- NAME -->` and `<!-- /NAME -->` of a Markdown file.

    Raises InputError where the file or one of the comments is missing."""
    path, first, last = Path(path), f"<!-- {name} -->", f"<!-- /{name} -->"
    try:
        page = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the path.") from error
    if page.count(first) != 1 or page.count(last) != 1:
        raise InputError(f"{path} does not have {first} and {last} once each: add both to it.")
    before, after = page.split(first)[0], page.split(last)[1]
    whole = f"{before}{first}\n{text.strip()}\n{last}{after}"
    write_atomically(path, lambda to: to.write_text(whole, encoding="utf-8"))


def side_by_side(out: str | Path, results: Sequence[Result], name: str, picture: int) -> Tensor:
    """One picture of a set with every method, of the first training seed: float32 [1,3,H,W].

    out: the folder of `compare`. Raises MissingFileError where a picture is gone."""
    facts = [result["facts"] for result in results]
    seed = min(one["seed"] for one in facts)
    measured = {(one["method"], one["seed"], one["set"]) for one in facts}
    strips = {
        method.title: Path(out) / f"{method.key}-{seed}-{name}.png"
        for method in METHODS
        if (method.key, seed, name) in measured
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


# ------------------------------------------------------------------ photographs
def photo_layout(compared: Compared) -> ReportLayout:
    """The headings: they name the networks, and say which of them a loss uses, too."""
    heads = {}
    for measure, name in compared.facts["measured by"].items():
        also = ", also a loss" if name in compared.facts["losses"].values() else ""
        heads[measure] = f"{name}{also}"
    heads["identity"] = "identity " + heads["identity"].removeprefix("identity ")
    columns = distortion_columns(heads)
    psnr = next(one for one in METRICS if one.key == "psnr")
    columns["psnr"] = (psnr.title, psnr.more)
    if "lpips_vgg" in heads:
        columns["lpips_vgg"] = (heads["lpips_vgg"], False)
    return ReportLayout(
        compared.methods,
        {SET: "Photographs"},
        columns,
        # neither is better by itself: an edit that changes nothing keeps everything
        {"kept": ("identity kept", None), "changed": ("LPIPS of the change", None)},
        ("kept", "identity that an edit keeps"),
    )


def photo_tables(compared: Compared) -> str:
    """Markdown: how it was measured, the tables, and what failed."""
    facts = compared.facts
    along = ", ".join(facts["directions"])
    text = (
        f"{facts['pictures']} pictures of {facts['folder']}, generator {facts['generator']}. "
        "Pictures and results are measured as files of 256 px (PIL, bicubic), one at a time; MSE "
        "in [-1, 1]. Seconds are medians. Intervals of 95 % over the pictures, by Student's t. "
        f"Edits, and LEC, by {facts['strength']:g} standard deviations along {along}."
    )
    parts = [text, tables(compared.results, photo_layout(compared)).strip()]
    return "\n\n".join([*parts, *_fid(compared), _failures(compared)]) + "\n"


def photo_sheets(compared: Compared) -> dict[str, Tensor]:
    """picture -> all methods of it side by side, float32 [1,3,H,W]. Raises MissingFileError."""
    return {
        name: stacked(strips, columns, name)
        for name, (columns, strips) in compared.sheets.items()
        if strips
    }


def _fid(compared: Compared) -> list[str]:
    """The table of Frechet inception distances, where their network was found."""
    titles = compared.methods
    rows = [
        [titles[result["facts"]["method"]], state, str(of["pictures"]), f"{of['fid']:.4f}"]
        for result in compared.results
        for state, of in result.get("fid", {}).items()
    ]
    head = [["method", "state", "pictures", "FID"], ["---"] * 4]
    said = "Frechet inception distances to the photographs, which compare between as many pictures:"
    return [f"{said}\n\n{markdown([*head, *rows])}"] if rows else []


def _failures(compared: Compared) -> str:
    """Each picture with its reason and methods."""
    methods: dict[tuple[str, str], list[str]] = {}
    for one in compared.failed:
        methods.setdefault((one["picture"], one["reason"]), []).append(one["method"])
    if not methods:
        return f"None of the {compared.facts['pictures']} pictures failed."
    count = len({picture for picture, _ in methods})
    lines = [f"Failed, and in no mean: {count} of {compared.facts['pictures']} pictures."]
    for (picture, reason), keys in methods.items():
        who = "every method" if len(keys) == len(compared.methods) else ", ".join(keys)
        lines.append(f"\n- `{picture}`, {who}: {reason}")
    return "".join([lines[0], "\n", *lines[1:]])


# ------------------------------------------------------------------ parts
def _table(results: Sequence[Result], part: str, columns: Columns, layout: ReportLayout) -> str:
    found = {measure: estimates(results, part, measure) for measure in columns}
    found = {measure: values for measure, values in found.items() if values}
    rows = [["method", *(columns[measure][0] for measure in found)], ["---"] * (len(found) + 1)]
    for key, title in layout.methods.items():
        if any(key in values for values in found.values()):
            rows.append([title, *(str(values.get(key, "")) for values in found.values())])
    return markdown(rows)


def _costs(results: Sequence[Result], layout: ReportLayout) -> str:
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
    return markdown(rows)


def _seconds(count: float) -> str:
    return f"{count:.2f}" if count >= 0.1 else f"{count:.2g}"


def _shared(results: Sequence[Result], part: str) -> int:
    """How many pictures all methods have that have some."""
    counts = [len(values) for result in results for values in list(result[part].values())[:1]]
    return min((count for count in counts if count), default=0)
