"""A program that opens every file of a folder and is watched while it does.

It may not grow, run code, import or write anything. What is measured is the processor's time, which
other programs do not change.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cycle_core.errors import CycleError

from .damage import small_generator, write_samples
from .writing import WRITE

TRAPS = ("trap", "dnnlib", "torch_utils", "legacy", "models")  # modules that must not be imported
LARGE = 50_000  # bytes
LONGEST = 10.0  # seconds of the processor's time, after which a file is given up
GROWTH = 700 << 20  # bytes of memory that the process may take beyond what it has at the start


@dataclass(frozen=True)
class Result:
    """What came of one file in one function."""

    file: str
    function: str
    error: str  # the class, "" if it opened
    message: str
    seconds: float = 0.0  # of the processor
    growth: int = 0  # bytes of memory at the peak, beyond what there was before
    events: Sequence[str] = ()  # what it did that no reader should


def work_through(folder: Path, work: Path) -> list[Result]:
    """Open every file of a folder, in every function; those of its folders "load_..." only in that
    one. work: the working folder, in which PROOF would appear."""
    work.mkdir()
    for name in TRAPS:  # whatever imports them leaves a proof
        (work / f"{name}.py").write_text(f"{WRITE}\n")
    tests = Path(__file__).parents[1]
    paths = os.pathsep.join(map(str, [work, tests.parent, tests]))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-X", "faulthandler", "-m", "hostile", str(folder)]
    done = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, timeout=1800
    )
    lines = done.stdout.splitlines()
    if done.returncode:
        raise RuntimeError(f"it ended with {done.returncode} after {lines[-1:]}: {done.stderr}")
    return [Result(*json.loads(line)) for line in lines]


def main(folder: Path) -> None:
    signal.signal(signal.SIGVTALRM, _stop)
    functions = _functions()
    watched: list[str] = []
    allowed = str(Path.cwd() / "out")
    Path(allowed).mkdir()
    # whole files first, so that what is imported late is there
    for path, own in write_samples(Path(allowed) / "whole").items():
        for name in (own, "inspect", "convert"):
            error, message = _attempt(functions[name], path)
            if name == own:
                _tell(Result(f"whole/{path.name}", name, error, message))
    for name in TRAPS:
        sys.modules.pop(name, None)
    sys.addaudithook(lambda event, arguments: _watch(event, arguments, watched, allowed))
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + GROWTH, resource.RLIM_INFINITY))
    for number, path in enumerate(sorted(folder.rglob("*"))):
        if path.parent != folder and path.parent.parent != folder:
            continue
        if path.is_dir() and not path.is_symlink() and path.name.startswith("load_"):
            continue
        own = path.parent.name if path.parent != folder else None
        names = [own] if own else list(functions)
        if not own and path.lstat().st_size > LARGE:  # to read it is the same for all: one will do
            names = names[number % len(names) :][:1]
        for name in names:
            before, started = _reset_peak(), time.process_time()
            watched.clear()
            error, message = _attempt(functions[name], path)
            seconds, events = time.process_time() - started, watched[:5]
            growth, relative = _peak() - before, str(path.relative_to(folder))
            _tell(Result(relative, name, error, message, seconds, growth, events))


def _tell(result: Result) -> None:
    print(json.dumps(dataclasses.astuple(result)), flush=True)


def _functions() -> dict[str, Callable[[Path], Any]]:
    import cycle_core as cc
    from cycle_core import cli
    from cycle_core.faces.points import load_points
    from cycle_core.run.picture_files import read_frame

    generator = small_generator()

    def command(name: str, *more: str) -> Callable[[Path], Any]:
        def run(path: Path) -> None:
            output = io.StringIO()
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                status = cli.main([name, str(path), *more])
            if status:
                raise CycleError(output.getvalue().strip())

        return run

    return {
        "load_generator": cc.load_generator,
        "load_encoder": cc.load_encoder,
        "load_direction": cc.load_direction,
        "load_style_deviations": cc.load_style_deviations,
        "load_code": cc.load_code,
        "load_tuned": lambda path: cc.load_tuned(path, generator),
        "load_photo": cc.read_photo,
        "load_frame": read_frame,
        "load_points": lambda path: load_points(str(path)),
        "inspect": command("inspect"),
        "convert": command("convert", str(Path.cwd() / "out" / "converted.safetensors")),
    }


class _Endless(BaseException):
    """It took more of the processor's time than LONGEST."""


def _attempt(function: Callable[[Path], Any], path: Path) -> tuple[str, str]:
    signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
    try:
        function(path)
    except BaseException as error:
        families = [kind.__name__ for kind in type(error).__mro__]
        family = "CycleError" if "CycleError" in families else families[0]
        return family, str(error)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return "", ""


def _stop(*_: object) -> None:
    raise _Endless


def _watch(event: str, arguments: tuple[Any, ...], watched: list[str], allowed: str) -> None:
    if event == "open":
        path, mode, flags = arguments
        writes = set(mode or "") & set("wax+") or (flags or 0) & (os.O_WRONLY | os.O_RDWR)
        if not writes or str(path).startswith(allowed):
            return
    elif event in ("os.remove", "os.rename", "os.chmod", "os.mkdir"):
        if str(arguments[0]).startswith(allowed):
            return
    elif event.split(".")[0] not in _FORBIDDEN and event not in _FORBIDDEN:
        return
    watched.append(f"{event} {str(arguments)[:200]}")


_FORBIDDEN = {
    "exec", "import", "pickle.find_class", "marshal", "subprocess", "socket", "ctypes", "shutil",
    "code", "webbrowser", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn",
    "os.spawn", "os.putenv", "os.kill", "os.truncate", "os.link", "os.symlink", "os.rmdir",
    "builtins.input",
}  # fmt: skip


def _reset_peak() -> int:
    """The memory now; the peak is measured from here on."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) << 10
