"""The folder as ComfyUI and its registry take it: what loading it imports, what its archive holds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def printed_by(code: str, *arguments: object) -> str:
    """What a Python without any installed package prints."""
    command = [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------ loading
def test_the_entry_point_imports_nothing_by_itself():
    code = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("pack", sys.argv[1])
pack = importlib.util.module_from_spec(spec)
before = set(sys.modules)
spec.loader.exec_module(pack)
assert not hasattr(pack, "NODE_CLASS_MAPPINGS")  # else ComfyUI would not ask for the nodes
print(*set(sys.modules) - before)
"""
    assert printed_by(code, ROOT / "__init__.py").split() == []


LOAD = """
import json, sys, tempfile
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import comfy_standin, node_texts
comfy_standin.install(Path(tempfile.mkdtemp()))
sys.path.pop(0)
before = set(sys.modules)
pack = node_texts.load_pack(Path(sys.argv[2]))
nodes = node_texts.nodes_of(pack)
print(json.dumps([list(nodes), pack.__name__, sorted(set(sys.modules) - before)]))
"""
AT_ONCE = ("cycle_core", "cycle_core.cache", "cycle_core.errors", "nodes")


@pytest.mark.parametrize("name", ["cycle-encoding", "cycle.encoding-0.1", "Cycle Encoding (循环)"])
def test_loading_it_takes_no_library_and_little_of_its_own(tmp_path, name):
    """Under any folder name, and through a link: that is what makes it quick, and never fail."""
    folder = tmp_path / name
    folder.symlink_to(ROOT, target_is_directory=True)
    nodes, pack, imported = json.loads(printed_by(LOAD, ROOT / "tests", folder))
    assert len(nodes) == len(json.loads((ROOT / "locales/en/nodeDefs.json").read_text()))
    ours = [module for module in imported if module.startswith(f"{pack}.")]
    others = {module.partition(".")[0] for module in imported if not module.startswith(pack)}
    assert not others - set(sys.stdlib_module_names)
    parts = {module.removeprefix(f"{pack}.") for module in ours}
    assert {part for part in parts if not part.startswith("nodes.")} == set(AT_ONCE)
