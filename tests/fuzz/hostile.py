"""Hostile values: texts, numbers, bytes, and messages of a contract with such in their fields."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

CANARY = "s3cret-canary-51f7"
"""Part of hostile texts: where it turns up, something leaks."""

_NOT_UTF8_MARK = "<not-utf8>"
NOT_UTF8 = b"\xed\xa0\x80\xff\xfe\xc0\xaf\xf8\x80a"
"""A lone surrogate, bytes that never are, an overlong form; as long as its mark."""

TEXTS: Sequence[str] = (
    "",
    "\0",
    f"{CANARY}\0{CANARY}",
    _NOT_UTF8_MARK,
    f"{_NOT_UTF8_MARK} {CANARY} 17",
    "x" * 70_000,
    "\U0001f600" * 300,
    "\u202e\ufeff\u2028",
    "../../etc/passwd",
    "{" * 3_000,
    '{"message": "' + CANARY + '", "time": 1e308, "session": {"a": []}}',
    '{"message": ' + "[" * 2_000 + "]" * 2_000 + "}",
    "9999-99-99T99:99:99 late",
    "2024-02-30 10:00:00 +99:99 odd",
    "%s%n%d{0}$(id)",
    "a " * 5_000,
    "<*>" * 200,
    "9" * 5_000,
    "-0.0e-999 NaN inf 0x" + "f" * 100,
    "v1-1",
    "1-0",
    "2147483647-4294967295",
    "99999999999999999999-1",
)
_FLOATS = (0.0, -0.0, 1.0, math.nan, math.inf, -math.inf, 1.7e308, 5e-324, -1e-9)
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.CPPTYPE_ENUM: (-1, 2**31 - 1),
}
_MANY = 1_500
_MAX_DEPTH = 4

seeds = st.integers(0, 2**32 - 1)


def not_utf8(raw: bytes) -> bytes:
    """A message with its marks in the place of bytes that protobuf would not let in."""
    return raw.replace(_NOT_UTF8_MARK.encode(), NOT_UTF8)


class Hostile:
    """Makes messages from a seed: the fields of a contract with hostile values, some good ones among them.

    Parameters
    ----------
    seed : int
    good : mapping of str to sequence of str
        Texts that a field of this name may well have, so that not all is refused at the first look.
    """

    def __init__(self, seed: int, good: Mapping[str, Sequence[str]] | None = None) -> None:
        self.random = random.Random(seed)
        self._good = good or {}

    def message(self, kind: type[Message]) -> bytes:
        """The bytes of one message."""
        message = kind()
        self._fill(message, 0)
        return not_utf8(message.SerializeToString())

    def bytes(self, raw: bytes) -> bytes:
        """A message with some of its bytes changed, cut out, repeated or cut off."""
        changed = bytearray(raw)
        for _ in range(self.random.randint(1, 6)):
            if not changed:
                break
            place = self.random.randrange(len(changed))
            match self.random.randrange(5):
                case 0:
                    changed[place] = self.random.randrange(256)
                case 1:
                    del changed[place : place + self.random.randint(1, 8)]
                case 2:
                    changed[place:place] = changed[place : place + self.random.randint(1, 32)]
                case 3:
                    del changed[place:]
                case _:
                    changed[place:place] = self.random.randbytes(self.random.randint(1, 10))
        return bytes(changed)

    def _fill(self, message: Message, depth: int) -> None:
        fields: Sequence[Any] = message.DESCRIPTOR.fields
        share = self.random.choice((0.3, 0.7, 1.0))
        for field in fields:
            if self.random.random() > share or (field.message_type and depth >= _MAX_DEPTH):
                continue
            if field.is_repeated:
                self._fill_list(message, field, depth)
            elif field.message_type:
                self._fill(getattr(message, field.name), depth + 1)
                getattr(message, field.name).SetInParent()
            else:
                setattr(message, field.name, self._scalar(field))

    def _fill_list(self, message: Message, field: Any, depth: int) -> None:
        values: Any = getattr(message, field.name)
        kind = field.message_type
        if kind is not None and kind.GetOptions().map_entry:
            for _ in range(self.random.randint(0, 3)):
                self._put(values, kind)
            return
        # Many at the upper levels only: lists of long lists are a matter of size alone.
        count = self.random.choice((0, 1, 1, 2, 3, _MANY if depth <= 1 and self.random.random() < 0.1 else 4))
        for _ in range(count):
            if kind is not None:
                self._fill(values.add(), depth + 1 if count < _MANY else _MAX_DEPTH)
            else:
                values.append(self._scalar(field, short=count >= _MANY))

    def _put(self, values: Any, kind: Descriptor) -> None:
        name, content = kind.fields_by_name["key"], kind.fields_by_name["value"]
        if content.message_type is None:
            values[self._scalar(name, short=True)] = self._scalar(content)

    def _scalar(self, field: Any, *, short: bool = False) -> Any:
        match field.cpp_type:
            case FieldDescriptor.CPPTYPE_STRING:
                text = self._text(field.name, short=short)
                return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
            case FieldDescriptor.CPPTYPE_BOOL:
                return self.random.random() < 0.5
            case FieldDescriptor.CPPTYPE_DOUBLE | FieldDescriptor.CPPTYPE_FLOAT:
                return self.random.choice(_FLOATS)
        low, high = _RANGES[field.cpp_type]
        if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM and self.random.random() < 0.8:
            return self.random.choice(field.enum_type.values).number
        return self.random.choice((0, 1, 2, low, high, 2**31 - 1, self.random.randint(low, high)))

    def _text(self, name: str, *, short: bool) -> str:
        if (good := self._good.get(name)) and self.random.random() < 0.6:
            return self.random.choice(good)
        text = self.random.choice(TEXTS)
        return text[:20] if short else text


def message_class(descriptor: Descriptor) -> type[Message]:
    """The class of a message of a contract."""
    found: type[Message] = GetMessageClass(descriptor)
    return found


def nested(depth: int, inner: Any, wrap: Callable[[Any], Any]) -> Any:
    """A value inside so many others."""
    for _ in range(depth):
        inner = wrap(inner)
    return inner
