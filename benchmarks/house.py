"""How the library is built, in numbers: its rooms, what imports what, and how long it is.

    python benchmarks/house.py

Exits 1 where a rule of the house does not hold: four files at the top of `cycle_core`, no circle
of imports (those for type checkers alone excepted), no file longer than 400 lines, the nodes
included, no class or type that is called as another one in another file, and no more than two files
that a further format, direction type and so on would touch: those of the library and the nodes that
import or name one that is there; its test and generated texts come to that.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "cycle_core"
AT_THE_TOP = {"__init__.py", "cli.py", "codes.py", "errors.py"}
LONGEST = 400
# one of each kind, by the name that registers it
EXAMPLES = {
    "format": "checkpoints.tensorflow",
    "direction type": "directions.mapper",
    "detector": "yunet",
    "metric": "ms_ssim",
    "measure of codes": "lec_relative",
    "schedule": "w-decay",
    "node": "CycleMixCodes",
}
# rooms whose names are of something else: the comparison calls a training as its schedule is called
OTHERWISE = {"schedule": "bench"}
TOUCHED = 2


@dataclass(frozen=True)
class House:
    """top: files at the top level. circles: modules that import each other, in a circle. lengths:
    lines of each file, by its path below the library. nodes: the same of the nodes. doubles: names
    of classes and types that two files define, with these. touched: what one more of each kind of
    EXAMPLES touches."""

    top: set[str]
    circles: list[list[str]]
    lengths: dict[str, int]
    nodes: dict[str, int]
    doubles: dict[str, list[str]]
    touched: dict[str, list[str]]

    def faults(self) -> list[str]:
        """What breaks a rule, a sentence each."""
        loose = [f"{name} lies loose at the top" for name in sorted(self.top - AT_THE_TOP)]
        rounds = [f"a circle of imports: {', '.join(circle)}" for circle in self.circles]
        long = [
            f"{name} has {lines} lines"
            for name, lines in {**self.lengths, **self.nodes}.items()
            if lines > LONGEST
        ]
        twice = [f"{name} is in {' and in '.join(at)}" for name, at in self.doubles.items()]
        spread = [
            f"one more {kind} touches {', '.join(files)}"
            for kind, files in self.touched.items()
            if len(files) > TOUCHED
        ]
        return loose + rounds + long + twice + spread


def house(root: Path = ROOT) -> House:
    """The library as it lies on the disk."""
    files = {
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path
        for path in modules(root)
    }
    imports = {
        name: {one for one in imported(path, name, root.name) if one in files}
        for name, path in files.items()
    }
    nodes = root.parent / "nodes"
    return House(
        top={path.name for path in root.glob("*.py")},
        circles=circles(imports),
        lengths=_lengths(root, root),
        nodes=_lengths(nodes, root.parent),
        doubles=doubles([root, nodes]),
        touched={kind: naming(word, root, OTHERWISE.get(kind)) for kind, word in EXAMPLES.items()},
    )


def _lengths(folder: Path, above: Path) -> dict[str, int]:
    """The lines of each source file, by its path below `above`."""
    return {
        str(path.relative_to(above)): len(path.read_text(encoding="utf-8").splitlines())
        for path in modules(folder)
    }


def modules(root: Path) -> Iterator[Path]:
    """Its source files, assets left out."""
    yield from sorted(path for path in root.rglob("*.py") if "assets" not in path.parts)


def imported(path: Path, name: str, package: str) -> Iterator[str]:
    """The modules of the library that a file imports, wherever it does, other than for types."""
    tree = _parsed(path)
    checked = [node for node in ast.walk(tree) if isinstance(node, ast.If) and _for_types(node)]
    skipped = {id(child) for node in checked for child in ast.walk(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or id(node) in skipped:
            continue
        if node.level:  # a package is one below itself
            inside = [*name.split("."), ""] if path.name == "__init__.py" else name.split(".")
            parts = inside[: -node.level]
        elif (node.module or "").split(".")[0] == package:
            parts = []
        else:
            continue
        module = (node.module or "").split(".") if node.module else []
        start = module[1:] if not node.level else module
        yield ".".join([*parts, *start])
        yield from (".".join([*parts, *start, one.name]) for one in node.names)


def circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules of which each is reached from each: strongly connected components."""
    reached = {name: _reached(name, imports) for name in imports}
    found = {
        frozenset(other for other in reached[name] if name in reached[other]) for name in imports
    }
    return sorted(sorted(circle) for circle in found if circle)


def _reached(name: str, imports: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    waiting = list(imports[name])
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen.add(one)
            waiting += imports[one]
    return seen


def doubles(roots: list[Path]) -> dict[str, list[str]]:
    """Names of classes and types, public ones, that more than one file defines: {name: files}."""
    found: dict[str, list[str]] = {}
    for path in (path for root in roots for path in modules(root)):
        for node in _parsed(path).body:
            names = {node.name} if isinstance(node, ast.ClassDef) else set()
            if isinstance(node, ast.Assign) and "TypeVar" not in ast.dump(node):
                names = {one.id for one in node.targets if isinstance(one, ast.Name)}
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = {node.target.id}
            for name in names:
                if name[0].isupper() and not name.isupper():
                    found.setdefault(name, []).append(str(path.relative_to(roots[0].parent)))
    return {name: files for name, files in sorted(found.items()) if len(files) > 1}


def naming(word: str, root: Path = ROOT, without: str | None = None) -> list[str]:
    """The files of the library and the nodes that import the module `word`, are it, or have the
    text; without those of one room of the library."""
    found = []
    for path in (*modules(root), *modules(root.parent / "nodes")):
        if without is not None and root / without in path.parents:
            continue
        name = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        nodes = ast.walk(_parsed(path))
        texts = {node.value for node in nodes if isinstance(node, ast.Constant)}
        inside = name.removeprefix(f"{root.name}.")
        if word in texts or word == inside or word in imported(path, inside, root.name):
            found.append(str(path.relative_to(root.parent)))
    return found


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _for_types(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def main() -> int:
    built = house()
    name, lines = max(built.lengths.items(), key=lambda item: item[1])
    print(f"files at the top level   {len(built.top)} ({', '.join(sorted(built.top))})")
    print(f"circles of imports       {len(built.circles)}")
    print(f"files, lines             {len(built.lengths)}, {sum(built.lengths.values())}")
    print(f"longest file             {lines} ({name})")
    name, lines = max(built.nodes.items(), key=lambda item: item[1])
    print(f"longest of the nodes     {lines} ({name})")
    print(f"names of two things      {len(built.doubles)}")
    for kind, example in EXAMPLES.items():
        found = built.touched[kind]
        print(f"{kind + ',':<18} {example + ':':<23} {len(found)} ({', '.join(found)})")
    for fault in built.faults():
        print(f"FAULT  {fault}")
    return bool(built.faults())


if __name__ == "__main__":
    sys.exit(main())
