"""What tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import pytest

from cycle_core.checkpoints.latents import save_code
from cycle_core.checkpoints.registry import load_generator
from cycle_core.cli import main
from cycle_core.codes import Code

QUICK = ["--refine-steps", "1", "--tune-steps", "2", "--no-face", "centre"]


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too, with its content."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def refused(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Run a command that must fail; gives the one sentence that it says."""
    assert main([str(part) for part in argv]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("cycle-core: ")
    assert told.endswith((".", ")"))
    return told


def code_file(path: Path, **changes: object) -> Path:
    """A code of the embedded generator (its mean), with fields changed."""
    generator = load_generator("portraits")
    fields = {
        "w": generator.w_avg.expand(1, generator.num_ws, -1),
        "space": "W",
        "generator_id": generator.fingerprint,
        **changes,
    }
    save_code(Code(**fields), path)  # type: ignore[arg-type]
    return path
