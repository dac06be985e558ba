"""The command line `cycle-core`: one command for each step, `run` for the whole way.

Whatever the user can get wrong ends with one sentence on stderr and exit code 2; Ctrl-C ends with
130. Heavy imports wait until a command needs them, so that --help and mistakes answer at once.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from . import __version__
from .commands.console import sentence_of
from .commands.options import with_config
from .errors import CycleError, InputError
from .run.results import no_empty_folders

MISTAKE, INTERRUPTED = 2, 128 + signal.SIGINT
_STOPS = [stop for stop in signal.Signals if stop.name in ("SIGINT", "SIGTERM", "SIGHUP")]
_PATIENCE = 3.0  # seconds for tidying up, in which pressing Ctrl-C again changes nothing


def main(
    argv: Sequence[str] | None = None,
    make_parser: Callable[[], argparse.ArgumentParser] | None = None,
) -> int:
    """Run one command; gives the exit code. argv: without the program's name, default sys.argv.
    make_parser: of other commands than `cycle-core` has, as they are made here."""
    program = argv is None
    if program:  # before torch reads it:
        # on a busy machine torch's threads lose minutes by spinning while they wait for each other
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        for name in ("stdout", "stderr"):  # None where they were closed (`>&-`)
            stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115 - stays
            setattr(sys, name, stream)
            with contextlib.suppress(AttributeError, ValueError):  # names that are no text
                stream.reconfigure(errors="backslashreplace")
    argv = sys.argv[1:] if argv is None else argv
    debug = "--debug" in argv
    stopped: list[float] = []
    try:
        with _stopping(stopped, lasting=program), no_empty_folders():
            _check_not_empty(argv)
            if argv[:1] in (["bench"], ["train"]):
                argv = with_config(argv)
            arguments = (make_parser or parser)().parse_args(argv)
            _load_torch()
            if program:
                from .runtime.devices import keep_memory  # it imports torch

                keep_memory()
            arguments.command(arguments)
            sys.stdout.flush()  # here, where a closed pipe is still caught
        return 0
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:  # `cycle-core directions | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if stopped:  # compiled code turns the interrupt that it meets into errors of its own
            return _interrupted()
        sentence = explain(error)
        if debug or sentence is None:  # None: a fault of this program, worth its trace
            raise
        print(f"cycle-core: {sentence}", file=sys.stderr)
        return MISTAKE


def explain(error: Exception) -> str | None:
    """One sentence for an error that the user can do something about, None for any other."""
    if isinstance(error, CycleError):
        return sentence_of(error)
    if isinstance(error, OSError) and error.errno is not None:
        name = f"{error.filename}: " if error.filename else ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return f"{name}the disk is full: free some space or choose another folder with --out."
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{name}permission denied: choose another place or change its rights."
        return f"{name}{error.strerror or error}: check the path."
    kind = type(error).__name__
    if kind == "SafetensorError" and "I/O error" in str(error):
        return f"A model file could not be read or written ({error}): check the disk."
    if type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
        lines = str(error).splitlines() or [kind]
        return (
            f"torch.compile does not work on this machine ({lines[0]}): leave --compile out, or "
            "install a C++ compiler."
        )
    from .runtime.devices import out_of_memory  # it imports torch, as what can fill memory has

    if out_of_memory(error):
        return (
            "There is not enough memory for this: close other programs, take a smaller picture or "
            "model, or another --device."
        )
    return None


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    from .commands import bench, codes, faces, invert, models, run, train

    top = Parser(
        prog="cycle-core",
        description="Portrait in, edited portrait out: GAN inversion by cycle encoding, refinement "
        "and pivotal tuning, then edits that keep the person.",
    )
    top.add_argument(
        "--version",
        action="version",
        version=f"cycle-core {__version__}",
        help="show the version and exit",
    )
    commands = top.add_subparsers(
        title="commands", metavar="COMMAND", required=True, parser_class=Parser
    )
    for module in (run, faces, invert, codes, models, train, bench):
        module.add_commands(commands)
    return top


class Parser(argparse.ArgumentParser):
    """argparse, with its mistakes reported in one sentence as everywhere else."""

    def __init__(self, **options: Any):
        super().__init__(**options, allow_abbrev=False)  # what looks for an option finds it whole

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; `{self.prog} --help` shows what is possible.")


def _check_not_empty(argv: Sequence[str]) -> None:
    """As a path, an empty argument would be the folder that one is in."""
    if "" in argv:
        raise InputError(
            "An argument is empty, as a variable of the shell is that was never set: give a name "
            "in its place, or leave it out."
        )


@contextlib.contextmanager
def _stopping(stopped: list[float], lasting: bool) -> Iterator[None]:
    """Ctrl-C, a polite kill and a closed terminal raise KeyboardInterrupt; `stopped` gets when.

    lasting: the program ends afterwards, and being impatient does not disturb that."""
    if threading.current_thread() is not threading.main_thread():  # signals belong to that one
        yield
        return

    def stop(*_: object) -> None:
        now = time.monotonic()
        if not stopped or now > stopped[-1] + _PATIENCE:
            stopped.append(now)
            raise KeyboardInterrupt

    # what is ignored stays so: nohup, jobs in the background of a script
    heard = [number for number in _STOPS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        # Python gives its own handlers back before it ends, but not what is ignored
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if lasting else handler)


def _load_torch() -> None:
    """Every command needs it; an interrupt in its loading would end the process in a crash, and
    waits until it is there."""
    mask = getattr(signal, "pthread_sigmask", None)  # which Windows lacks
    before = mask(signal.SIG_BLOCK, _STOPS) if mask else ()
    try:
        import torch  # noqa: F401
    finally:
        if mask:
            mask(signal.SIG_SETMASK, before)


def _interrupted() -> int:
    text = "stopped; what was finished is kept, nothing is half-written."
    print(f"\ncycle-core: {text}", file=sys.stderr)
    return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
