"""Damaged copies of whole files of every layout, opened by the function that opens them.

    python benchmarks/fuzz.py --count 10000 [--page docs/checkpoints.md]

They are opened in a process that may not grow, run, import or write anything (`tests/hostile`).
Prints how many opened, how many were refused, and what the worst of them cost; exits 1 where one
ended in anything but one sentence, ran something, or took more than 2 seconds or 400 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "tests")]

from hostile import (  # noqa: E402 - it lies among the tests
    Result,
    work_through,
    write_corpus,
    write_mutations,
    write_samples,
)

from cycle_core.bench.report import put  # noqa: E402

SECONDS, MEMORY = 2.0, 400 << 20  # of the processor; beyond what the process had before


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000, help="damaged copies")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", action="store_true", help="the written attacks, too")
    parser.add_argument("--page", type=Path, help="put the figures between the page's marks")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "files")
        if arguments.corpus:
            write_corpus(files)
        samples = write_samples(Path(folder, "samples"))
        write_mutations(samples, files, arguments.count, arguments.seed)
        results = work_through(files, Path(folder, "work"))
    results = [result for result in results if not result.file.startswith("whole/")]
    opened = sum(not result.error for result in results)
    refused = len(results) - opened
    slow = max(results, key=lambda result: result.seconds)
    large = max(results, key=lambda result: result.growth)
    text = (
        f"Of {len(results):,} openings of {len({r.file for r in results}):,} files, damaged copies "
        f"of {len(samples)} kinds,\n{opened:,} succeeded and {refused:,} were refused in one "
        f"sentence. The slowest took {slow.seconds:.2f} s\nof the processor, the largest "
        f"{large.growth >> 20} MB beyond what the process had."
    )
    print(f"{text}\nslowest: {slow.file}\nlargest: {large.file}")
    wrong = [result for result in results if _is_wrong(result)]
    for result in wrong[:20]:
        print(
            "FAULT", result.file, result.function, result.error, result.message[:200], result.events
        )
    print(f"{len(wrong)} faults")
    if arguments.page and not wrong:
        put(text, arguments.page, "fuzz")
    return 1 if wrong else 0


def _is_wrong(result: Result) -> bool:
    kind = result.error not in ("", "CycleError")
    return kind or bool(result.events) or result.seconds > SECONDS or result.growth > MEMORY


if __name__ == "__main__":
    sys.exit(main())
