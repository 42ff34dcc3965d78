"""Values as JSON: how they travel between candidate and grader, rebuilt as plain builtins.

None, bool, float, str and small int are themselves; all else is [tag, payload]. What is no plain
builtin travels as ["opaque", number], a handle on an object that stays where it is.
"""

import builtins
from collections.abc import Callable
from typing import Any

# Deeper values are opaque: a cycle ends here, and JSON's own recursion is never reached.
DEPTH = 60
_WORD = 1 << 63
_SEQUENCES: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
_KINDS = (str, int, float, list, tuple, dict, set, frozenset, bytes, bytearray, complex, range)


class BadMessage(Exception):
    """A message that no honest peer sends."""


def encode(value: Any, opaque: Callable[[Any], int], lenient: bool, depth: int = DEPTH) -> Any:
    """Return what JSON is sent for a value.

    Args:
        value: any object.
        opaque: returns the number of an object that does not travel by value, or raises.
        lenient: whether an instance of a subclass travels as its builtin base (Counter as dict).
        depth: how many levels may follow.
    """
    kind = type(value)
    if value is None or kind is bool:
        return value
    if isinstance(value, type) and kind is type:
        name = value.__name__
        if vars(builtins).get(name) is value:
            return ["type", name]
    bases: Any = kind.__mro__ if lenient else (kind,)
    base: Any = next((one for one in bases if one in _KINDS), None)
    if base is None or depth == 0:
        return ["opaque", opaque(value)]
    # The base's own methods: those of a subclass are the candidate's.
    if base is int:
        number = int.__int__(value)
        # In hexadecimal, because decimal digits take quadratic time and Python limits them.
        return number if -_WORD <= number < _WORD else ["int", hex(number)]
    if base is float:
        return float.__float__(value)
    if base is str:
        return str.__str__(value)
    if base is bytes or base is bytearray:
        return [base.__name__, base.hex(value)]
    if base is complex:
        plain = complex.__complex__(value)
        return ["complex", [plain.real, plain.imag]]
    if base is range:
        return [
            "range",
            [encode(n, opaque, lenient) for n in (value.start, value.stop, value.step)],
        ]
    if base is dict:
        return [
            "dict",
            [
                [encode(key, opaque, lenient, depth - 1), encode(item, opaque, lenient, depth - 1)]
                for key, item in dict.items(value)
            ],
        ]
    return [base.__name__, [encode(v, opaque, lenient, depth - 1) for v in base.__iter__(value)]]


def decode(message: Any, handle: Callable[[int], Any], depth: int = DEPTH) -> Any:
    """Return the value of a message; `handle` returns what stands for an opaque number.

    Raises:
        BadMessage: the message is none that `encode` makes.
    """
    if message is None or type(message) in (bool, int, float, str):
        return message
    try:
        tag, payload = message
        if depth < 0 or type(message) is not list:
            raise BadMessage("no value")
        return _decode(tag, payload, handle, depth)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadMessage(str(error)) from None


def _decode(tag: str, payload: Any, handle: Callable[[int], Any], depth: int) -> Any:
    if tag in _SEQUENCES:
        return _SEQUENCES[tag](decode(one, handle, depth - 1) for one in payload)
    if tag == "dict":
        return {
            decode(key, handle, depth - 1): decode(item, handle, depth - 1) for key, item in payload
        }
    if tag == "opaque":
        if type(payload) is not int:
            raise BadMessage("no handle")
        return handle(payload)
    if tag == "int":
        return int(payload, 16)
    if tag == "bytes":
        return bytes.fromhex(payload)
    if tag == "bytearray":
        return bytearray.fromhex(payload)
    if tag == "complex":
        return complex(*payload)
    if tag == "range":
        return range(*(decode(number, handle, 0) for number in payload))
    if tag == "type" and isinstance(found := getattr(builtins, payload), type):
        return found
    raise BadMessage("no tag")
