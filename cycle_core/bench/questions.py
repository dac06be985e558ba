"""What the comparison is asked, written down before it runs, and how its numbers answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .statistics import Estimate, estimate, holm

Result = dict[str, Any]
LEVEL = 0.05  # of all questions together


@dataclass(frozen=True)
class Question:
    """Whether method `one` has less of a measure than `other`, in each of the sets."""

    claim: str
    one: str
    other: str
    part: str  # "pivot", "edited", "tuned", "edited tuned"
    measure: str
    sets: tuple[str, ...] = ("inside", "outside")


_ALL = ("inside", "outside", "person")
QUESTIONS = (
    Question("The way through W+ gives a nearer pivot than an encoder trained in W",
             "cycle", "encoder-w", "pivot", "lpips"),
    Question("... than one with the cycle's adversarial weights, too",
             "cycle", "w-decay", "pivot", "lpips"),
    Question("The cycle's codes are more consistent than an encoder's that was trained in W",
             "cycle", "encoder-w", "pivot", "lec"),
    Question("... also at the same adversarial weights", "cycle", "w-decay", "pivot", "lec"),
    Question("Tightening is needed for a near pivot", "cycle", "untightened", "pivot", "lpips"),
    Question("The delta weight alone would do: a nearer pivot than without tightening",
             "cycle-delta", "untightened", "pivot", "lpips"),
    Question("A pivot of W+ is nearer than the cycle's", "e4e", "cycle", "pivot", "lpips"),
    Question("The cycle's pivot edits better than one of W+",
             "cycle", "e4e", "edited", "unwanted"),
    Question("The cycle's codes are more consistent than those of W+",
             "cycle", "e4e", "pivot", "lec"),
    Question("Heads that shrinking turned off would bring the pivot nearer",
             "cycle-stale", "cycle", "pivot", "lpips"),
    Question("... but would edit worse", "cycle", "cycle-stale", "edited", "unwanted"),
    Question("Refinement brings the pivot nearer", "cycle-refined", "cycle", "pivot", "lpips"),
    Question("... and its edits nearer to the true ones",
             "cycle-refined", "cycle", "edited", "true_lpips"),
    Question("The pictures of the domain (M) keep the refined code consistent",
             "cycle-refined", "cycle-free", "pivot", "lec"),
    Question("After tuning the cycle's picture is nearer than that of an encoder trained in W",
             "cycle", "encoder-w", "tuned", "lpips", _ALL),
    Question("... and its edits nearer to the true ones",
             "cycle", "encoder-w", "edited tuned", "true_lpips", _ALL),
    Question("After tuning the cycle's picture is nearer than that of W+",
             "cycle", "e4e", "tuned", "lpips", _ALL),
    Question("... and it edits better", "cycle", "e4e", "edited tuned", "unwanted", _ALL),
    Question("After tuning a refined pivot edits better than optimisation in W+",
             "cycle-refined", "optimise-w+", "edited tuned", "unwanted", _ALL),
    Question("Real pictures of the domain (M) instead of generated ones bring the pivot nearer",
             "cycle-real", "cycle-refined", "pivot", "lpips"),
    Question("A map of the detail after tuning (DHR) brings the edits nearer to the true ones",
             "cycle-detail", "cycle", "edited tuned", "true_lpips"),
    Question("The styles of the cycle's codes are nearer to those of random codes than W+'s (NSCD)",
             "cycle", "e4e", "pivot", "nscd"),
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """difference: `one` minus `other`; p: Holm's, of all questions that were asked."""

    question: Question
    set: str
    difference: Estimate
    p: float

    @property
    def verdict(self) -> str:
        if self.p >= LEVEL:
            return "cannot be seen here"
        return "held" if self.difference.mean < 0 else "not held: the opposite"


def answers(results: Sequence[Result], questions: Sequence[Question] = QUESTIONS) -> list[Answer]:
    """Of all questions whose two methods were measured on a set."""
    tests: list[tuple[Question, str, Estimate]] = []
    for question in questions:
        for name in question.sets:
            of_set = [result for result in results if result["facts"]["set"] == name]
            of_two = difference(
                of_set, question.one, question.other, question.part, question.measure
            )
            if of_two is not None:
                tests.append((question, name, of_two))
    ps = holm([of_two.p for _, _, of_two in tests])
    return [Answer(*found, p) for found, p in zip(tests, ps, strict=True)]


def difference(
    results: Sequence[Result], one: str, other: str, part: str, measure: str
) -> Estimate | None:
    """The mean of `one` minus `other`, of one set, paired by picture and training seed. None where
    either is missing. What is not trained has one seed, which is compared with every one."""
    mine, theirs = (
        {
            result["facts"]["seed"]: result[part][measure]
            for result in results
            if result["facts"]["method"] == key and measure in result[part]
        }
        for key in (one, other)
    )
    if not mine or not theirs:
        return None
    several = [of_seed.keys() for of_seed in (mine, theirs) if len(of_seed) > 1]
    seeds = sorted(set.intersection(*map(set, several)) if several else mine.keys())
    pairs = [
        (mine.get(seed, next(iter(mine.values()))), theirs.get(seed, next(iter(theirs.values()))))
        for seed in seeds
    ]
    count = min((len(row) for pair in pairs for row in pair), default=0)
    if not count:
        return None
    return estimate([[a - b for a, b in zip(m[:count], t[:count], strict=True)] for m, t in pairs])


def asked(titles: Mapping[str, str]) -> str:
    """The questions, as Markdown: they are in the document before a comparison runs."""
    rows = [["", "question", "less of", "of", "than of", "sets"], ["---"] * 6]
    for number, one in enumerate(QUESTIONS, start=1):
        measure = f"{one.measure}, {one.part}"
        sets = ", ".join(one.sets)
        rows.append([str(number), one.claim, measure, titles[one.one], titles[one.other], sets])
    return markdown(rows)


def answered(results: Sequence[Result]) -> str:
    """The questions that the results answer, as Markdown; "" where there are none."""
    found = answers(results)
    if not found:
        return ""
    rows = [["", "question", "set", "difference", "p (Holm)", "answer"], ["---"] * 6]
    for one in found:
        verdict = one.verdict
        rows.append([
            str(QUESTIONS.index(one.question) + 1), one.question.claim, one.set,
            f"{'+' if one.difference.mean > 0 else ''}{one.difference}", f"{one.p:.2g}",
            verdict if one.p >= LEVEL else f"**{verdict}**",
        ])  # fmt: skip
    return markdown(rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table, its first two rows the headings and the line under them."""
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
