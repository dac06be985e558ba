"""A pickle machine that makes plain data and runs nothing.

Python's own unpicklers, torch's `weights_only` one among them, read every byte of a file into
memory, and only refuse the calls that they are asked to. This one goes through the opcodes of
protocols 0 to 5 itself: it knows a fixed table of names (`pickle_globals`), each with a function of
this project that makes inert data; it imports and calls nothing else. Bytes of any length stay in
the file until they are needed, so that a pickle of three networks opens in the memory of one. Work
and text are bounded, and whatever is wrong raises an exception, of which `reading.read_file` makes
one sentence.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any

from .lazy_tensors import Damaged, OpaqueObject, Region, TFNetwork
from .pickle_globals import (
    MAX_NAME,
    Array,
    Attributes,
    DType,
    Global,
    Module,
    checked_key,
    load_from_bytes,
    region_of,
)

MAX_STEPS = 300_000  # opcodes; the largest known files have about 100,000
MAX_UNKNOWN = 1000  # names that are not in the table
MAX_TEXT = 64 << 20  # bytes of text and names in one file
MAX_UNPACKED = 16 << 20  # bytes of what is compressed, and twice what the file has
SMALL = 256  # bytes up to this many are read at once
CHUNK = 16 << 10


class Limits:
    """What one file of `size` bytes may use, the files nested in it included."""

    def __init__(self, size: int) -> None:
        self.steps, self.text, self.depth = MAX_STEPS, MAX_TEXT, 4
        self.room = MAX_UNPACKED + 2 * size
        self.unknown: set[str] = set()  # names that are not in the table

    def work(self, steps: int) -> None:
        self.steps -= steps
        if self.steps < 0:
            raise Damaged("it has more in it than any model file")

    def read(self, text: int) -> None:
        self.text -= text
        if self.text < 0:
            raise Damaged("it has more text in it than any model file")

    def unpack(self, size: int) -> None:
        self.room -= size
        if self.room < 0:
            raise Damaged("it unpacks to far more than it is")

    def charge(self, values: tuple[Any, ...]) -> None:
        """For what a call or a state may copy: the same long list can be named many times."""
        for value in values:
            if isinstance(value, str | bytes):
                self.read(len(value))
            elif isinstance(value, list | tuple | dict):
                self.work(len(value))


class Unpickler:
    """Runs one pickle. `load_bytes(region)` opens the torch file that stands for a storage in it;
    `persistent(id)` gives the storage of a persistent id."""

    def __init__(
        self,
        region: Region,
        limits: Limits,
        load_bytes: Callable[[Region], Any],
        persistent: Callable[[Any], Any],
    ):
        self._region, self._limits = region, limits
        self._load_bytes, self._persistent = load_bytes, persistent
        self._chunk, self._chunk_at = b"", 0
        self.at = 0  # the position behind what was read
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def load(self, at: int = 0) -> Any:
        """The object of the pickle that begins at `at`; `self.at` is then its end."""
        self.at = at
        while True:
            self._limits.work(1)
            code = self._take(1)
            if code == b".":
                return self._pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise Damaged("it is no pickle")
            operation(self)

    # -------------------------------------------------------------- input
    def _take(self, size: int) -> bytes:
        start = self.at - self._chunk_at
        end = start + size
        if end > len(self._chunk):
            left = self._region.size - self.at
            if size > left:
                raise Damaged("it ends too early")
            self._chunk = self._region.part(self.at, min(max(size, CHUNK), left)).read()
            self._chunk_at, start, end = self.at, 0, size
        self.at += size
        return self._chunk[start:end]

    def _line(self) -> bytes:
        parts = []
        while True:
            self._take(1)  # makes sure that the chunk holds what comes next
            self.at -= 1
            start = self.at - self._chunk_at
            end = self._chunk.find(b"\n", start)
            parts.append(self._take((len(self._chunk) if end < 0 else end) - start))
            self._limits.read(len(parts[-1]))
            if end >= 0:
                self.at += 1
                return b"".join(parts)

    def _number(self, size: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(size), "little", signed=signed)

    def _text(self, size: int) -> str:
        self._limits.read(size)
        return self._take(size).decode("utf-8", "surrogatepass")

    def _old_text(self, size: int) -> str | Region:
        """A str of Python 2: text if short, the content of an array if long."""
        return self._bytes(size) if size > SMALL else self._take(size).decode("latin-1")

    def _bytes(self, size: int) -> Any:
        if size <= SMALL:
            return self._take(size)
        region = self._region.part(self.at, size)
        self.at += size
        return region

    # -------------------------------------------------------------- the stack
    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        self._top()
        return self._stack.pop()

    def _top(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise Damaged("it is no whole pickle")
        return self._stack[-1]

    def _pop_mark(self) -> list[Any]:
        mark = self._marks.pop()
        items = self._stack[mark:]
        del self._stack[mark:]
        return items

    def _discard(self) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def _get(self, index: int) -> None:
        if index not in self._memo:
            raise Damaged("it is no whole pickle")
        self._push(self._memo[index])

    def _put(self, index: int) -> None:
        if not 0 <= index < MAX_STEPS:  # larger ones could be chosen to collide
            raise Damaged("it is no whole pickle")
        self._memo[index] = self._top()

    def _tuple(self, size: int) -> None:
        first = len(self._stack) - size
        if first < (self._marks[-1] if self._marks else 0):
            raise Damaged("it is no whole pickle")
        self._stack[first:] = [tuple(self._stack[first:])]

    def _set_items(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) not in (dict, Attributes):
            if isinstance(target, OpaqueObject):
                return
            raise Damaged("it is no whole pickle")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key, len(target))] = value

    def _append(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) is list:
            target.extend(items)
        elif not isinstance(target, OpaqueObject):
            raise Damaged("it is no whole pickle")

    # -------------------------------------------------------------- names, calls, states
    def _name(self, module: Any, name: Any) -> None:
        for text in (module, name):
            if type(text) is not str or len(text) > MAX_NAME or not text.isprintable():
                raise Damaged("it is no whole pickle")
        found = Global(module, name)
        if found.make is None:
            self._limits.unknown.add(found.name)
            if len(self._limits.unknown) > MAX_UNKNOWN:
                raise Damaged("it names more classes than any model file")
        self._push(found)

    def _call(self, function: object, arguments: object) -> None:
        if type(arguments) is not tuple:
            raise Damaged("it is no whole pickle")
        self._limits.charge(arguments)
        if isinstance(function, OpaqueObject):
            self._push(OpaqueObject(function.name, arguments))
        elif not isinstance(function, Global):
            raise Damaged("it calls something that is no function")
        elif function.make is None:
            self._push(OpaqueObject(function.name, arguments))
        elif function.make is load_from_bytes:
            self._push(self._load_bytes(region_of(*arguments)))
        else:
            self._push(function.make(*arguments))

    def _reduce(self) -> None:
        arguments = self._pop()
        self._call(self._pop(), arguments)

    def _instance(self, with_name: bool) -> None:
        """The objects of protocol 0 and 1."""
        if with_name:
            module, name = self._line().decode("ascii"), self._line().decode("ascii")
            arguments = self._pop_mark()
            self._name(module, name)
            class_ = self._pop()
        else:
            class_, *arguments = self._pop_mark()
        self._call(class_, tuple(arguments))

    def _build(self) -> None:
        state, target = self._pop(), self._top()
        self._limits.charge(state if type(state) is tuple else (state,))
        if isinstance(target, OpaqueObject):
            target.state = state
        elif isinstance(target, Array):
            target.set_state(*state)
        elif isinstance(target, DType):
            target.set_state(state)
        elif isinstance(target, Module | TFNetwork | Attributes):
            if isinstance(state, tuple) and len(state) == 2:  # attributes and slots
                state = state[0] or {}
            if not isinstance(state, dict):
                raise Damaged("it is no whole pickle")
            values = target if isinstance(target, dict) else target.state
            for key, value in state.items():
                values[checked_key(key, len(values))] = value
        # anything else: attributes of dicts and tensors, such as state_dict's _metadata

    def _unsupported(self) -> None:
        raise Damaged("it refers to something outside of it")


_OPERATIONS: dict[bytes, Callable[[Unpickler], object]] = {
    # text, bytes, numbers
    b"\x80": lambda m: m._take(1),  # protocol
    b"\x95": lambda m: m._take(8),  # frame
    b"N": lambda m: m._push(None),
    b"\x88": lambda m: m._push(True),
    b"\x89": lambda m: m._push(False),
    b"I": lambda m: m._push(_integer(m._line())),
    b"L": lambda m: m._push(_decimal(m._line().rstrip(b"L"))),
    b"F": lambda m: m._push(float(m._line())),
    b"J": lambda m: m._push(m._number(4, signed=True)),
    b"K": lambda m: m._push(m._number(1)),
    b"M": lambda m: m._push(m._number(2)),
    b"\x8a": lambda m: m._push(m._number(m._number(1), signed=True)),
    b"\x8b": lambda m: m._push(m._number(_small(m._number(4)), signed=True)),
    b"G": lambda m: m._push(struct.unpack(">d", m._take(8))[0]),
    b"S": lambda m: m._push(_quoted(m._line())),
    b"T": lambda m: m._push(m._old_text(m._number(4))),
    b"U": lambda m: m._push(m._old_text(m._number(1))),
    b"V": lambda m: m._push(m._line().decode("raw-unicode-escape")),
    b"X": lambda m: m._push(m._text(m._number(4))),
    b"\x8c": lambda m: m._push(m._text(m._number(1))),
    b"\x8d": lambda m: m._push(m._text(m._number(8))),
    b"C": lambda m: m._push(m._bytes(m._number(1))),
    b"B": lambda m: m._push(m._bytes(m._number(4))),
    b"\x8e": lambda m: m._push(m._bytes(m._number(8))),
    b"\x96": lambda m: m._push(m._bytes(m._number(8))),
    # containers
    b"]": lambda m: m._push([]),
    b"}": lambda m: m._push({}),
    b")": lambda m: m._push(()),
    b"\x8f": lambda m: m._push([]),  # a set, see `pickle_globals`
    b"(": lambda m: m._marks.append(len(m._stack)),
    b"l": lambda m: m._push(m._pop_mark()),
    b"t": lambda m: m._push(tuple(m._pop_mark())),
    b"d": lambda m: _make_dict(m, m._pop_mark()),
    b"\x91": lambda m: m._push(m._pop_mark()),
    b"\x85": lambda m: m._tuple(1),
    b"\x86": lambda m: m._tuple(2),
    b"\x87": lambda m: m._tuple(3),
    b"a": lambda m: m._append([m._pop()]),
    b"e": lambda m: m._append(m._pop_mark()),
    b"s": lambda m: m._set_items([m._pop(), m._pop()][::-1]),
    b"u": lambda m: m._set_items(m._pop_mark()),
    b"\x90": lambda m: m._append(m._pop_mark()),
    # the stack and the memo
    b"0": lambda m: m._discard(),
    b"1": lambda m: m._pop_mark(),
    b"2": lambda m: m._push(m._top()),
    b"g": lambda m: m._get(_index(m._line())),
    b"h": lambda m: m._get(m._number(1)),
    b"j": lambda m: m._get(m._number(4)),
    b"p": lambda m: m._put(_index(m._line())),
    b"q": lambda m: m._put(m._number(1)),
    b"r": lambda m: m._put(m._number(4)),
    b"\x94": lambda m: m._put(len(m._memo)),
    # names, calls, states
    b"c": lambda m: m._name(m._line().decode(), m._line().decode()),
    b"\x93": lambda m: m._name(*[m._pop(), m._pop()][::-1]),
    b"R": lambda m: m._reduce(),
    b"\x81": lambda m: m._reduce(),
    b"\x92": lambda m: (m._pop(), m._reduce()),  # keyword arguments first
    b"i": lambda m: m._instance(with_name=True),
    b"o": lambda m: m._instance(with_name=False),
    b"b": lambda m: m._build(),
    b"P": lambda m: m._push(m._persistent(m._line().decode())),
    b"Q": lambda m: m._push(m._persistent(m._pop())),
}
# extension registry, buffers outside of the pickle
_OPERATIONS |= dict.fromkeys((b"\x82", b"\x83", b"\x84", b"\x97", b"\x98"), Unpickler._unsupported)


def _index(line: bytes) -> int:
    if not line.isdigit() or len(line) > 9:
        raise Damaged("it is no whole pickle")
    return int(line)


def _integer(line: bytes) -> int | bool:
    return line == b"01" if line in (b"00", b"01") else _decimal(line)


def _decimal(line: bytes) -> int:
    if len(line) > 1000:  # the time is the square of the digits, which not every Python limits
        raise Damaged("it holds a number of too many digits")
    return int(line)


def _small(size: int) -> int:
    if size > SMALL:
        raise Damaged("it holds an impossible number")
    return size


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Damaged("it is no whole pickle")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")  # type: ignore[attr-defined]


def _make_dict(machine: Unpickler, items: list[Any]) -> None:
    machine._push({})
    machine._set_items(items)
