"""The command line where the machine or the user ends it: nothing is half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from command_line import QUICK, code_file, refused, tree
from limits import full_disk, rights_count

from cycle_core.cli import main

pytestmark = pytest.mark.usefixtures("only_embedded")


# ------------------------------------------------------------------ the machine's limits
@pytest.mark.parametrize("room", [0, 2000], ids=["at once", "in the middle"])
def test_a_full_disk_is_told_and_leaves_no_part_of_a_file(room, noise, tmp_path, capsys):
    code_file(tmp_path / "code.safetensors")
    before = tree(tmp_path)

    with full_disk(room):
        for command in (
            ["align", noise, "--no-face", "centre", "--size", "256", "--out", tmp_path / "a.png"],
            ["encode", noise, "--out", tmp_path / "b.safetensors"],
            ["edit", tmp_path / "code.safetensors", "--edit", "smile=1", "-o", tmp_path / "c"],
        ):
            refused(capsys, *command)

    assert tree(tmp_path) == before


def test_a_full_disk_leaves_the_older_result_as_it_was(noise, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["run", str(noise), *QUICK, "--out", str(out)]) == 0
    before = tree(out)

    with full_disk(30_000):  # pictures fit, the tuned weights do not
        refused(capsys, "run", noise, *QUICK, "--seed", "1", "--out", out)

    assert tree(out) == before


def test_a_folder_that_may_not_be_written_is_told_before_the_work(noise, tmp_path, capsys):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    with rights_count():
        told = refused(capsys, "run", noise, "--out", locked)

    assert "Nothing can be written" in told
    assert not tree(locked)


def test_a_folder_of_the_users_own_is_not_touched(noise, tmp_path, capsys):
    mine = tmp_path / "out" / "noise" / "letter.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("dear me")

    assert "not written by this program" in refused(
        capsys, "run", noise, *QUICK, "--out", tmp_path / "out"
    )
    assert mine.read_text() == "dear me"


def test_a_report_of_the_users_own_is_not_overwritten(noise, tmp_path, capsys):
    report = tmp_path / "out" / "report.json"
    report.parent.mkdir()
    report.write_text('{"sales": 3}')

    told = refused(capsys, "run", noise, *QUICK, "--out", tmp_path / "out")

    assert "not written by this program" in told
    assert tree(tmp_path).keys() == {"noise.png", "out/report.json"}
    assert report.read_text() == '{"sales": 3}'


@pytest.mark.parametrize("name", [".noise.png", "..png", "report.json.png", "\udcff.png"])
def test_results_have_a_folder_that_is_seen_whatever_the_picture_is_called(name, noise, tmp_path):
    from cycle_core.run.inputs import find_pictures

    noise.rename(tmp_path / name)
    (folder,) = find_pictures([tmp_path / name]).pictures

    assert not folder.startswith(".")
    assert folder not in ("", "report.json")
    assert folder.encode("utf-8")  # reports and terminals are


# ------------------------------------------------------------------ interruption
@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0])
def test_ctrl_c_at_any_moment_leaves_only_what_is_whole(seconds, noise, tmp_path):
    """In a process of its own: between two lines of torch's an interrupt leaves gradients off."""
    out = tmp_path / "out"
    script = (
        "import signal, sys, torch._dynamo\n"  # half of which would be left by an interrupt
        "from cycle_core.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job may have it ignored
        "signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))\n"
        "signal.setitimer(signal.ITIMER_REAL, float(sys.argv[1]))\n"
        "sys.exit(main(sys.argv[2:]))\n"
    )
    command = ["run", str(noise), *QUICK, "--edit", "smile=1", "--out", str(out)]
    ended = subprocess.run(
        [sys.executable, "-c", script, str(seconds), *command], capture_output=True, text=True
    )

    code = ended.returncode
    assert code in (130, 0)  # 0: it was faster
    whole = {"sheet.png", "tuned.safetensors", "photo_smile+1.png", "report.json"}
    assert (out / "noise").is_dir() == (code == 0)
    if code == 0:
        assert whole <= {path.name for path in (out / "noise").iterdir()}
    else:
        assert "stopped" in ended.stderr
        assert not tree(tmp_path).keys() - {"noise.png"}


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_being_stopped_ends_the_program_with_130_and_without_a_trace(number, noise, tmp_path):
    command = [sys.executable, "-m", "cycle_core.cli", "run", str(noise), *QUICK]
    command += ["--tune-steps", "100000", "--out", str(tmp_path / "out")]

    def listen() -> None:  # what the shell that runs the tests ignores would be ignored here, too
        signal.signal(getattr(signal, number), signal.SIG_DFL)

    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=listen)
    assert process.stderr is not None
    for line in process.stderr:  # of the refinement, which is done: now it is tuning
        if line.startswith("refine"):
            break
    time.sleep(0.5)
    for _ in range(3):  # impatience changes nothing
        process.send_signal(getattr(signal, number))
        time.sleep(0.02)
    told = process.stderr.read()

    assert process.wait(60) == 130
    assert "stopped" in told
    assert "Traceback" not in told
    assert not tree(tmp_path / "out")


def test_ctrl_c_while_torch_is_loaded_is_no_crash(tmp_path):
    """Where it is loaded, exceptions meet compiled code that ends the process (SIGABRT)."""
    script = (
        "import signal, sys, cycle_core.cli as cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job may have it ignored
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch._ops': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"code = cli.main(['sample', '--out', {str(tmp_path / 's')!r}])\n"
        "print(code, hasattr(sys.modules['torch'], 'compile'))"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert ended.stdout.split() == ["130", "True"]  # only once it was there
    assert not tree(tmp_path)
