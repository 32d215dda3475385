"""Read the data of a pickle without running the pickle.

A pickle is a program. Python's own unpickler imports whatever the program names and calls it, which is how a
model file can take over a computer. This reader knows the program's instructions, but no way to import or to
call: a class or function is only ever a `Name`, and calling one gives an `Inert` holder, unless the caller
supplied a constructor of its own under that name. There is no list of forbidden things that could have gaps.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

MAX_STEPS = 1_000_000
"""A ViT-H checkpoint with its optimiser takes about 100,000."""
_KEY_TYPES = (str, int, float, bool, bytes, type(None))
_MAX_KEY_LENGTH = 1000  # letters or bytes; comparing long keys again and again takes minutes
_MAX_KEY_INTEGER = 1 << 64  # hashing a long integer takes time each time
_MAX_NAME = 120

Constructor = Callable[..., object]


class PickleDataError(ValueError):
    """The bytes are not a pickle that holds plain data: damaged, cut short, or made to do harm."""


class ContentsError(ValueError):
    """A constructor refuses what the file gives it; the message completes "its table of contents is damaged"."""


@dataclass(frozen=True, eq=False)
class Name:
    """A class or function as the file calls it. It is never looked up."""

    full: str


@dataclass(frozen=True, eq=False)
class Inert:
    """What stands where the file wanted an object built by code. It can do nothing."""

    made_by: str


@dataclass(frozen=True)
class PickleData:
    """What a pickle holds.

    Attributes:
        value: dicts, lists, tuples, numbers, strings, bytes, None, and what the constructors made;
            anything else is an `Inert` or a `Name`.
        inert: the names that the file wanted called and that were not, in order of appearance.
    """

    value: object
    inert: tuple[str, ...]


def read_pickle(
    stream: BinaryIO,
    constructors: Mapping[str, Constructor] | None = None,
    persistent: Callable[[object], object] | None = None,
    max_steps: int = MAX_STEPS,
) -> PickleData:
    """Read one pickle and leave the stream right behind it.

    Args:
        stream: binary stream at the start of a pickle. With `max_steps` its length bounds the memory used.
        constructors: by full name ("module.name"), functions of ours that stand in for the file's calls.
            They see hostile arguments and answer bad ones with ContentsError.
        persistent: turns the file's external references into values; ContentsError for odd ones.
        max_steps: most instructions, with the entries of what constructors are given. Each makes one object
            at most.

    Raises:
        PickleDataError: the pickle is damaged or cut short, or uses something that plain data never needs.
    """
    machine = _Machine(constructors or {}, persistent, max_steps)
    try:
        return PickleData(machine.run(stream), tuple(machine.inert))
    except PickleDataError:
        raise
    except ContentsError as error:
        raise PickleDataError(f"its table of contents is damaged ({error})") from error
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, AttributeError, Warning) as error:
        raise PickleDataError("its table of contents is damaged") from error


@dataclass
class _Machine:
    """The stack machine that a pickle is written for, reduced to building data."""

    constructors: Mapping[str, Constructor]
    persistent: Callable[[object], object] | None
    steps_left: int
    stack: list[Any] = field(default_factory=list)
    outer: list[list[Any]] = field(default_factory=list)  # the stacks below each open mark
    memo: dict[int, Any] = field(default_factory=dict)
    inert: dict[str, None] = field(default_factory=dict)  # a dict keeps the order, and each name once

    def run(self, stream: BinaryIO) -> object:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return self.stack.pop()
            self.spend(1)
            if opcode.name in _LITERALS:
                self.stack.append(argument)
            else:
                _INSTRUCTIONS[opcode.name](self, argument)
        raise PickleDataError("its table of contents has no end")

    def spend(self, steps: int) -> None:
        """Count what makes objects: with the memo, a few bytes of the file could ask for any number of them."""
        self.steps_left -= steps
        if self.steps_left < 0:
            raise PickleDataError("its table of contents has more entries than a model file of this size needs")

    # Marks and the memo

    def mark(self, _: object) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    def drop(self, _: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.to_mark()

    def put(self, index: int) -> None:
        self.memo[index] = self.stack[-1]

    def memoize(self, _: object) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def get(self, index: int) -> None:
        self.stack.append(self.memo[index])

    # Containers

    def tuple_of(self, size: int) -> None:
        items = [self.stack.pop() for _ in range(size)]
        self.stack.append(tuple(reversed(items)))

    def tuple_of_mark(self, _: object) -> None:
        items = self.to_mark()
        self.stack.append(tuple(items))

    def list_of_mark(self, _: object) -> None:
        items = self.to_mark()
        self.stack.append(items)

    def add_to(self, target: object, items: list[Any]) -> None:
        """Append to a list; what is no list of ours takes nothing in."""
        if isinstance(target, list):
            target.extend(items)

    def set_in(self, target: object, items: list[Any]) -> None:
        """Set keys of a dict. Only plain keys: hashing a deeply nested tuple of the file could crash us."""
        if len(items) % 2:
            raise PickleDataError("its table of contents has a key without a value")
        if isinstance(target, dict):
            for key, value in zip(items[::2], items[1::2], strict=True):
                target[checked_key(key) if isinstance(key, _KEY_TYPES) else Inert("key")] = value

    def dict_of_mark(self, _: object) -> None:
        items = self.to_mark()
        self.stack.append({})
        self.set_in(self.stack[-1], items)

    def frozen_set_of_mark(self, _: object) -> None:
        self.to_mark()
        self.stack.append(Inert("frozenset"))

    def append(self, _: object) -> None:
        item = self.stack.pop()
        self.add_to(self.stack[-1], [item])

    def appends(self, _: object) -> None:
        items = self.to_mark()
        self.add_to(self.stack[-1], items)

    def set_item(self, _: object) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.set_in(self.stack[-1], [key, value])

    def set_items(self, _: object) -> None:
        items = self.to_mark()
        self.set_in(self.stack[-1], items)

    # Names and calls: nothing is looked up, nothing of the file's is called

    def name(self, argument: str) -> None:
        self.stack.append(Name(argument.replace(" ", ".", 1)))

    def name_from_stack(self, _: object) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise PickleDataError("its table of contents names a class by something that is no text")
        if len(module) + len(name) > _MAX_KEY_LENGTH:
            raise PickleDataError(f"its table of contents names a class by {len(module) + len(name):,} letters")
        self.stack.append(Name(f"{module}.{name}"))

    def call(self, what: object, arguments: object) -> object:
        if isinstance(what, Name) and what.full in self.constructors and isinstance(arguments, tuple):
            self.spend(sum(len(argument) for argument in arguments if isinstance(argument, (tuple, list, dict))))
            return self.constructors[what.full](*arguments)
        return self.hold(what.full if isinstance(what, Name) else f"<{type(what).__name__}>")

    def hold(self, made_by: str) -> Inert:
        made_by = "".join(letter if letter.isprintable() else "?" for letter in made_by[:_MAX_NAME])
        self.inert.setdefault(made_by)
        return Inert(made_by)

    def call_on_stack(self, _: object) -> None:
        arguments, what = self.stack.pop(), self.stack.pop()
        self.stack.append(self.call(what, arguments))

    def call_with_keywords(self, _: object) -> None:
        _keywords = self.stack.pop()
        self.call_on_stack(None)

    def call_of_mark(self, _: object) -> None:
        what, *arguments = self.to_mark()
        self.stack.append(self.call(what, tuple(arguments)))

    def call_by_name(self, argument: str) -> None:
        arguments = self.to_mark()
        self.stack.append(self.call(Name(argument.replace(" ", ".", 1)), tuple(arguments)))

    def set_attributes(self, _: object) -> None:
        """Drop the attributes: neither a plain container nor a holder has any."""
        self.stack.pop()

    def registered(self, code: int) -> None:
        self.stack.append(Name(f"<registered extension {code}>"))

    def reference(self, _: object) -> None:
        if self.persistent is None:
            raise PickleDataError("it refers to data outside itself")
        self.stack.append(self.persistent(self.stack.pop()))

    def refuse(self, _: object) -> None:
        raise PickleDataError("its table of contents uses an instruction that model files never need")


def checked_key(key: Any) -> Any:
    """Refuse what is too long to be a key of a dictionary; what is no text, bytes or integer passes.

    Raises:
        PickleDataError: it is too long.
    """
    if isinstance(key, (str, bytes)) and len(key) > _MAX_KEY_LENGTH:
        raise PickleDataError(f"its table of contents has a name of {len(key):,} letters")
    if isinstance(key, int) and abs(key) >= _MAX_KEY_INTEGER:
        raise PickleDataError(f"its table of contents has a key of {key.bit_length():,} bits")
    return key


_LITERALS = frozenset(
    (
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
    )
)
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, _: None,
    "FRAME": lambda machine, _: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": lambda machine, _: machine.to_mark(),
    "DUP": lambda machine, _: machine.stack.append(machine.stack[-1]),
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "EMPTY_TUPLE": lambda machine, _: machine.tuple_of(0),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": _Machine.tuple_of_mark,
    "EMPTY_LIST": lambda machine, _: machine.stack.append([]),
    "LIST": _Machine.list_of_mark,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.appends,
    "EMPTY_DICT": lambda machine, _: machine.stack.append({}),
    "DICT": _Machine.dict_of_mark,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_items,
    "EMPTY_SET": lambda machine, _: machine.stack.append(Inert("set")),
    "ADDITEMS": _Machine.appends,
    "FROZENSET": _Machine.frozen_set_of_mark,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.call_on_stack,
    "NEWOBJ": _Machine.call_on_stack,
    "NEWOBJ_EX": _Machine.call_with_keywords,
    "OBJ": _Machine.call_of_mark,
    "INST": _Machine.call_by_name,
    "BUILD": _Machine.set_attributes,
    "EXT1": _Machine.registered,
    "EXT2": _Machine.registered,
    "EXT4": _Machine.registered,
    "BINPERSID": _Machine.reference,
    "PERSID": _Machine.refuse,
    "BYTEARRAY8": _Machine.refuse,
    "NEXT_BUFFER": _Machine.refuse,
    "READONLY_BUFFER": _Machine.refuse,
}
