"""Public bypasses of scanners (picklescan, fickling) and of torch.load as regressions.

A fixed table of names is not bypassed by a name that nobody thought of."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
from hostile import PROOF
from hostile.writing import TOUCH, Call, Name, Raw, code, dump, tensor, torch_legacy, torch_zip

from cycle_core.checkpoints.reading import read_file
from cycle_core.errors import CheckpointError

# of the advisories of picklescan and fickling, most of which have this form: a name that is in no
# list of dangerous ones and that runs, imports, reads, writes or asks the network
NAMES = [
    "_aix_support._read_cmd_output",
    "_operator.attrgetter",
    "_operator.methodcaller",
    "_osx_support._read_output",
    "_pickle.loads",
    "_posixsubprocess.fork_exec",
    "aiohttp.client.ClientSession",
    "asyncio.run",
    "asyncio.unix_events._UnixSubprocessTransport._start",
    "bdb.Bdb.run",
    "builtins.breakpoint",
    "builtins.compile",
    "builtins.eval",
    "builtins.exec",
    "builtins.getattr",
    "builtins.__import__",
    "cProfile.run",
    "cProfile.runctx",
    "cloudpickle.loads",
    "code.InteractiveInterpreter.runcode",
    "codeop.compile_command",
    "commands.getoutput",
    "ctypes.CDLL",
    "dill.loads",
    "distutils.file_util.write_file",
    "distutils.spawn.spawn",
    "doctest.debug_script",
    "doctest.testfile",
    "ensurepip._run_pip",
    "ftplib.FTP",
    "functools.partial",
    "functools.reduce",
    "http.client.HTTPSConnection",
    "httplib.HTTPConnection",
    "idlelib.autocomplete.AutoComplete.fetch_completions",
    "idlelib.calltip.get_entity",
    "idlelib.debugobj.ObjectTreeItem.SetText",
    "idlelib.pyshell.ModifiedInterpreter.runcode",
    "idlelib.run.Executive.runcode",
    "imaplib.IMAP4_stream",
    "importlib.import_module",
    "importlib.machinery.SourceFileLoader",
    "importlib.util.module_from_spec",
    "imp.load_source",
    "io.open",
    "joblib.load",
    "lib2to3.pgen2.grammar.Grammar.loads",
    "lib2to3.pgen2.pgen.ParserGenerator.make_label",
    "logging.config.dictConfig",
    "marshal.loads",
    "multiprocessing.util.spawnv_passfds",
    "numpy.core.multiarray.fromfile",
    "numpy.f2py.crackfortran.getlincoef",
    "numpy.f2py.crackfortran._eval_length",
    "numpy.load",
    "numpy.testing._private.utils.runstring",
    "operator.attrgetter",
    "operator.itemgetter",
    "os.popen",
    "os.system",
    "pathlib.Path.write_text",
    "pdb.run",
    "pickle.loads",
    "pip.main",
    "pip._internal.main",
    "pip._internal.cli.main.main",
    "pkgutil.resolve_name",
    "platform.popen",
    "posix.system",
    "profile.Profile.run",
    "profile.run",
    "pty.spawn",
    "pydoc.pipepager",
    "pydoc.tempfilepager",
    "requests.api.get",
    "runpy.run_path",
    "shutil.copyfile",
    "site.main",
    "smtplib.SMTP",
    "socket.socket",
    "sqlite3.connect",
    "ssl.get_server_certificate",
    "subprocess.Popen",
    "sys.settrace",
    "test.support.script_helper.assert_python_ok",
    "timeit.timeit",
    "timeit.main",
    "tkinter.Tcl",
    "torch._dynamo.guards.GuardBuilder.get",
    "torch._inductor.codecache.compile_file",
    "torch.fx.experimental.symbolic_shapes.ShapeEnv.evaluate_guards_expression",
    "torch.hub.load",
    "torch.jit.unsupported_tensor_ops.execWrapper",
    "torch.load",
    "torch.package.PackageImporter",
    "torch.serialization.load",
    "torch.testing._internal.common_utils.run_tests",
    "torch.utils._config_module.ConfigModule.load_config",
    "torch.utils.bottleneck.__main__.run_autograd_prof",
    "torch.utils.bottleneck.__main__.run_cprofile",
    "torch.utils.collect_env.run",
    "torch.utils.cpp_extension.load_inline",
    "torch.utils.data.datapipes.utils.decoder.basichandlers",
    "trace.Trace.run",
    "trace.Trace.runctx",
    "types.CodeType",
    "types.FunctionType",
    "urllib.request.urlretrieve",
    "uuid._get_command_stdout",
    "venv.create",
    "webbrowser.open",
    "xmlrpc.client.ServerProxy",
    "zipimport.zipimporter.load_module",
]


def refused(path: Path, content: bytes, match: str) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=match):
        read_file(path)
    assert not list(path.parent.glob(PROOF))
    assert not Path(PROOF).exists()


@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_called(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module, _, last = name.rpartition(".")
    forms = {
        "GLOBAL": dump(Call(Name(module, last), (TOUCH,))),
        "STACK_GLOBAL": dump(Raw(code(module) + code(last) + b"\x93" + code((TOUCH,)) + b"R")),
        # the names by way of the memo, which some scanners do not follow
        "memo": dump(
            Raw(code(module) + b"q\x05" + code(last) + b"q\x060h\x05h\x06\x93" + code(()) + b"R")
        ),
        "INST": dump(Raw(b"(" + code(TOUCH) + f"i{module}\n{last}\n".encode())),
    }
    for content in forms.values():
        refused(tmp_path / "net.pkl", content, "nothing in it was run")
    refused(tmp_path / "net.pt", torch_zip(forms["GLOBAL"]), "nothing in it was run")


SYSTEM = Call(Name("os", "system"), (TOUCH,))


def test_a_stream_that_breaks_after_the_call(tmp_path, monkeypatch):
    # nullifAI: scanners gave up at the broken end, and the call was made before it
    monkeypatch.chdir(tmp_path)
    refused(tmp_path / "net.pkl", dump(SYSTEM)[:-1] + b"\xff\xff", "no pickle")


@pytest.mark.parametrize("ending", ["bin", "safetensors", "txt", "npy", "PT"])
def test_another_ending_changes_nothing(ending, tmp_path, monkeypatch):
    # CVE-2025-10155
    monkeypatch.chdir(tmp_path)
    refused(tmp_path / f"net.{ending}", dump(SYSTEM), "nothing in it was run")


def test_an_archive_with_a_wrong_checksum(tmp_path, monkeypatch):
    # CVE-2025-10156: zipfile raised, so that nothing was scanned, and torch read the file
    monkeypatch.chdir(tmp_path)
    content = bytearray(torch_zip(dump(SYSTEM)))
    struct.pack_into("<I", content, 14, 0)
    struct.pack_into("<I", content, content.index(b"PK\1\2") + 16, 0)
    refused(tmp_path / "net.pt", bytes(content), "nothing in it was run")


def test_an_archive_whose_directory_hides_a_member(tmp_path, monkeypatch):
    # local headers are what some readers go through; here it is the directory alone
    monkeypatch.chdir(tmp_path)
    hidden = b"PK\3\4" + bytes(26) + dump(SYSTEM)
    (tmp_path / "net.pt").write_bytes(hidden + torch_zip(dump([0])))
    assert read_file(tmp_path / "net.pt").data == [0]
    assert not Path(PROOF).exists()


def test_a_password_and_a_foreign_packer(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = bytearray(torch_zip(dump(SYSTEM)))
    content[content.index(b"PK\1\2") + 8] |= 1
    refused(tmp_path / "locked.pt", bytes(content), "nothing in it was run|cannot be read")
    refused(tmp_path / "packed.pt", b"7z\xbc\xaf\x27\x1c" + bytes(100), "7z archive")


def test_torchscript_is_refused_before_anything_of_it_is_read(tmp_path):
    # CVE-2025-32434: torch.load(weights_only=True) ran such a file's code before torch 2.6
    with zipfile.ZipFile(tmp_path / "net.pt", "w") as archive:
        archive.writestr("net/data.pkl", dump([0]))
        archive.writestr("net/constants.pkl", dump(()))
        archive.writestr("net/code/__torch__.py", "import os")
    with pytest.raises(CheckpointError, match="TorchScript"):
        read_file(tmp_path / "net.pt")


def test_items_that_are_set_on_what_is_no_dictionary(tmp_path):
    # CVE-2026-24747: SETITEM(S) on a tensor, and storages of another size than they say
    there = code(tensor(0, (4,), (1,)))
    for i, part in enumerate((b"K\x00K\x01s", b"(K\x00K\x01u", b"K\x01a", b"(K\x01e")):
        content = torch_zip(dump(Raw(there + part)), bytes(16))
        refused(tmp_path / f"{i}.pt", content, "no whole pickle")
    larger = torch_zip(dump(tensor(0, (4,), (1,), count=400)), bytes(16))
    refused(tmp_path / "larger.pt", larger, "bytes of numbers where 16 are")
    keys = dump(["0"])
    legacy = torch_legacy(dump(tensor(0, (4,), (1,))), keys, struct.pack("<q16x", 400))
    refused(tmp_path / "legacy.pt", legacy, "other sizes")


@pytest.mark.parametrize("written", [b"I%s\n", b"L%sL\n"])
def test_a_number_of_many_digits_is_not_read(written, tmp_path):
    # its time is the square of its length, which Python limits from 3.10.7 on
    content = torch_zip(dump(Raw(written % (b"7" * 3_000))), bytes(16))
    refused(tmp_path / "digits.pt", content, "too many digits")
