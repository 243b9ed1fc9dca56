"""The request messages again, with every ``string`` read as ``bytes``.

A protobuf parser refuses a whole message if one of its strings is not UTF-8, and log text often is not: one broken
byte would cost a batch of thousands of entries. The wire format of ``string`` and ``bytes`` is the same, so the
requests are decoded with a twin of the contract, ours or another's, that is derived here from the generated
descriptors: there is no second contract to keep in step. Whoever reads a field of a twin decodes it
(``errors="replace"``).

A map becomes the list of its key-value pairs, which is its wire format too, since a map's keys cannot be bytes.

A second twin, the *plain* one, reads a list called ``attributes`` as one ``bytes`` field instead, which holds the last
of them: many entries have none, and to ask for an empty list costs six times as much (300 ns) as for an empty field.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError
from google.protobuf.message_factory import GetMessageClass

from deeplog_grpc.errors import InputError
from deeplog_grpc.v1 import deeplog_service_pb2


class LenientMessage(Protocol):
    """A message of the twin: the fields of the contract's message of that name, with bytes for strings."""

    def __getattr__(self, name: str) -> Any: ...
    def HasField(self, name: str) -> bool:
        """Whether a message field, or a member of a oneof, is set."""
        ...

    def WhichOneof(self, name: str) -> str | None:
        """Name of the member that is set."""
        ...


class LenientDecoder:
    """Decodes one kind of request.

    Parameters
    ----------
    message : str
        Name of the message in the package of the contract.
    contract : FileDescriptor
        The file of the contract that has the message.

    Examples
    --------
    >>> raw = deeplog_service_pb2.ParseRequest(bodies=["50 EUR"]).SerializeToString()
    >>> LenientDecoder("ParseRequest")(raw.replace(b"E", bytes([0xFF]))).bodies[0].decode(errors="replace")
    '50 \ufffdUR'
    """

    def __init__(self, message: str, contract: FileDescriptor = deeplog_service_pb2.DESCRIPTOR) -> None:
        self._name = message
        name = f"{contract.package}.{message}"
        self._from_string, self._plain_from_string = (
            GetMessageClass(_twin_pool(contract, plain).FindMessageTypeByName(name)).FromString
            for plain in (False, True)
        )

    def __call__(self, raw: bytes) -> LenientMessage:
        """Decode the bytes of a message.

        Raises
        ------
        InputError
            If they are not a message of this kind.
        """
        return self._decoded(self._from_string, raw)

    def plain(self, raw: bytes) -> LenientMessage:
        """Decode the bytes of a message with ``attributes`` as one field each: empty, or the last one's bytes.

        Raises
        ------
        InputError
            If they are not a message of this kind.
        """
        return self._decoded(self._plain_from_string, raw)

    def _decoded(self, from_string: Callable[[bytes], Any], raw: bytes) -> LenientMessage:
        try:
            request: LenientMessage = from_string(raw)
        except DecodeError:
            raise InputError(f"the {len(raw)} bytes received are not a {self._name} message") from None
        return request


def _make_lenient(message: DescriptorProto, *, plain: bool) -> None:
    for field in message.field:
        if plain and field.name == "attributes" and field.label == FieldDescriptorProto.LABEL_REPEATED:
            field.label, field.type = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.TYPE_BYTES
            field.ClearField("type_name")
        if field.type == FieldDescriptorProto.TYPE_STRING:
            field.type = FieldDescriptorProto.TYPE_BYTES
    for nested in message.nested_type:
        nested.options.ClearField("map_entry")
        _make_lenient(nested, plain=plain)


def _add(pool: DescriptorPool, file: FileDescriptor, *, plain: bool) -> None:
    """Add the twin of a file, after those that it depends on; protobuf's own (google.*) as they are."""
    for dependency in file.dependencies:
        _add(pool, dependency, plain=plain)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    if not file.package.startswith("google."):
        for message in copy.message_type:
            _make_lenient(message, plain=plain)
    pool.Add(copy)


@cache  # the twins of a contract are the same for all its messages
def _twin_pool(contract: FileDescriptor, plain: bool) -> DescriptorPool:
    pool = DescriptorPool()
    _add(pool, contract, plain=plain)
    return pool
