"""The grader's side of the channel: requests, and stubs of what stays with the candidate."""

import builtins
import json
import os
import select
from typing import Any

from .wire import BadMessage, decode, encode

_MALFORMED = (ValueError, TypeError, KeyError, AttributeError, RecursionError, MemoryError)


class Stop(BaseException):
    """The check cannot be judged; no `except Exception` of a check may hide it."""


class Raised(BaseException):
    """What marks an exception as the candidate's; its other base is the builtin class."""


class Channel:
    """Requests to the candidate, one at a time.

    Attributes:
        broken: why there will be no more answers (died, flood, protocol); "" while there may be.
        unsure: whether the check under way hung on a value that the grader cannot see.
    """

    def __init__(self, descriptor: int, output: int) -> None:
        self.broken = ""
        self.unsure = False
        self._descriptor = descriptor
        self._output = output
        self._number = 0
        self._stubs: dict[int, Stub] = {}

    def _fail(self, why: str) -> Stop:
        self.broken = self.broken or why
        return Stop(why)

    def unsupported(self, why: str) -> Stop:
        """Return the exception for a verdict that would be the candidate's own."""
        self.unsure = True
        return Stop(why)

    def receive(self) -> Any:
        """Return the next answer's value; raises what the candidate raised, or Stop."""
        data = bytearray()
        while not data.endswith(b"\n"):
            chunk = self._read()
            if not chunk:
                raise self._fail("died")
            data += chunk
            if len(data) > self._output:
                raise self._fail("flood")
        try:
            answer = json.loads(data)
            if type(answer) is not dict or answer.get("number") != self._number:
                raise BadMessage("not the answer")
            if "exception" in answer:
                error = self._exception(*answer["exception"])
            else:
                return decode(answer["value"], self._stub)
        except (BadMessage, *_MALFORMED):
            raise self._fail("protocol") from None
        raise error

    def _read(self) -> bytes:
        try:
            return os.read(self._descriptor, 1 << 16)
        except ConnectionError:  # It was killed with a request unread: as good as end of file.
            return b""

    def ask(self, operation: str, *arguments: Any) -> Any:
        """Return what an operation in the candidate's process returns; raises as `receive`."""
        if self.broken:
            raise Stop(self.broken)
        if select.select([self._descriptor], [], [], 0)[0]:
            raise self._fail("protocol" if self._read() else "died")
        self._number += 1
        request = {
            "number": self._number,
            "operation": operation,
            "arguments": encode(arguments, self._argument, False),
        }
        data = json.dumps(request).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
        except OSError:
            raise self._fail("died") from None
        return self.receive()

    def _argument(self, value: Any) -> int:
        if type(value) is Stub:
            return _number(value)
        raise self.unsupported(f"{type(value).__name__} is no plain value")

    def _stub(self, number: int) -> "Stub":
        if number not in self._stubs:
            self._stubs[number] = Stub(self, number)
        return self._stubs[number]

    def _exception(self, name: str, args: Any) -> BaseException:
        found: Any = getattr(builtins, name)
        if not issubclass(found, BaseException):
            raise BadMessage("no exception")
        if issubclass(found, BaseExceptionGroup):
            found = Exception  # A group cannot be built without its members.
        bases = (Raised,) if found is BaseException else (found, Raised)
        kind: Any = type(name, bases, {})
        error: BaseException = kind.__new__(kind)
        error.args = tuple(decode(args, self._stub))
        return error


class Stub:
    """An object in the candidate's process. It is equal to itself and to nothing else."""

    __slots__ = ("_channel", "_number")

    def __init__(self, channel: Channel, number: int) -> None:
        object.__setattr__(self, "_channel", channel)
        object.__setattr__(self, "_number", number)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the object in the candidate's process; raises what it raises."""
        return _channel(self).ask("call", self, args, kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # Python's own protocols; those meant are defined here.
        return _channel(self).ask("attribute", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _channel(self).ask("assign", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return _channel(self).ask("item", self, key)

    def __iter__(self) -> Any:
        return _channel(self).ask("iterator", self)

    def __next__(self) -> Any:
        return _channel(self).ask("next", self)

    def __len__(self) -> int:
        length: int = _channel(self).ask("length", self)
        return length

    def __str__(self) -> str:
        text: str = _channel(self).ask("text", self)
        return text

    def __repr__(self) -> str:
        return f"<object {_number(self)} of the candidate>"

    def __hash__(self) -> int:
        return hash(("stub", _number(self)))

    def __eq__(self, other: object) -> bool:
        if self is not other:
            _channel(self).unsure = True
        return self is other

    def __copy__(self) -> "Stub":
        return self

    def __deepcopy__(self, memo: object) -> "Stub":
        return self


def _channel(stub: Stub) -> Channel:
    found: Channel = object.__getattribute__(stub, "_channel")
    return found


def _number(stub: Stub) -> int:
    found: int = object.__getattribute__(stub, "_number")
    return found


def _refuse(name: str) -> Any:
    def refused(stub: Stub, *args: object) -> Any:
        raise _channel(stub).unsupported(f"{name} of an object of the candidate")

    return refused


# Their answer would be a verdict by the candidate, or the grader would have to guess at it.
for _name in (
    *("bool", "lt", "le", "gt", "ge", "contains", "instancecheck", "subclasscheck", "index"),
    *("int", "float", "complex", "round", "abs", "neg", "pos", "invert", "setitem", "delitem"),
    *("enter", "exit", "reversed", "format", "bytes"),
    *(
        side + one
        for side in ("", "r")
        for one in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
    ),
):
    setattr(Stub, f"__{_name}__", _refuse(_name))
