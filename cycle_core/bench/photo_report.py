"""Tables and pictures of a comparison on photographs."""

from __future__ import annotations

from torch import Tensor

from .photos import SET, Compared
from .report import Layout, distortion_columns, stacked, tables


def photo_layout(compared: Compared) -> Layout:
    """The headings: they name the networks, and say which of them a loss uses, too."""
    heads = {}
    for measure, name in compared.facts["measured by"].items():
        also = ", also a loss" if name in compared.facts["losses"].values() else ""
        heads[measure] = f"{name}{also}"
    heads["identity"] = "identity " + heads["identity"].removeprefix("identity ")
    return Layout(
        compared.methods,
        {SET: "Photographs"},
        distortion_columns(heads),
        # neither is better by itself: an edit that changes nothing keeps everything
        {"kept": ("identity kept", None), "changed": ("LPIPS of the change", None)},
        ("kept", "identity that an edit keeps"),
    )


def photo_tables(compared: Compared) -> str:
    """Markdown: how it was measured, the tables, and what failed."""
    facts = compared.facts
    along = ", ".join(facts["directions"])
    told = (
        f"{facts['pictures']} pictures of {facts['folder']}, generator {facts['generator']}. "
        "Pictures and results are measured as files of 256 px (PIL, bicubic), one at a time; MSE "
        "in [-1, 1]. Seconds are medians. Intervals of 95 % by bootstrap over the pictures. Edits, "
        f"and LEC, by {facts['strength']:g} standard deviations along {along}."
    )
    return f"{told}\n\n{tables(compared.results, photo_layout(compared))}\n{_failures(compared)}\n"


def photo_sheets(compared: Compared) -> dict[str, Tensor]:
    """picture -> all methods of it side by side, float32 [1,3,H,W]. Raises MissingFileError."""
    return {
        name: stacked(strips, columns, name)
        for name, (columns, strips) in compared.sheets.items()
        if strips
    }


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
