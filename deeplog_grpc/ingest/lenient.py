"""The request messages again, with every ``string`` read as ``bytes``.

A protobuf parser refuses a whole message if one of its strings is not UTF-8, and log text often is not: one broken
byte would cost a batch of thousands of entries. The wire format of ``string`` and ``bytes`` is the same, so the
requests are decoded with a twin of the contract, ours or another's, that is derived here from the generated
descriptors: there is no second contract to keep in step. Whoever reads a field of a twin decodes it
(``errors="replace"``).

A map becomes the list of its key-value pairs, which is its wire format too, since a map's keys cannot be bytes.
"""

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
        twin = _twin_pool(contract).FindMessageTypeByName(f"{contract.package}.{message}")
        self._from_string: Any = GetMessageClass(twin).FromString

    def __call__(self, raw: bytes) -> LenientMessage:
        """Decode the bytes of a message.

        Raises
        ------
        InputError
            If they are not a message of this kind.
        """
        try:
            request: LenientMessage = self._from_string(raw)
        except DecodeError:
            raise InputError(f"the {len(raw)} bytes received are not a {self._name} message") from None
        return request


def _make_lenient(message: DescriptorProto) -> None:
    message.options.ClearField("map_entry")
    for field in message.field:
        if field.type == FieldDescriptorProto.TYPE_STRING:
            field.type = FieldDescriptorProto.TYPE_BYTES
    for nested in message.nested_type:
        _make_lenient(nested)


def _add(pool: DescriptorPool, file: FileDescriptor) -> None:
    """Add the twin of a file, after those that it depends on; protobuf's own (google.*) as they are."""
    for dependency in file.dependencies:
        _add(pool, dependency)
    copy = FileDescriptorProto()
    file.CopyToProto(copy)
    if not file.package.startswith("google."):
        for message in copy.message_type:
            _make_lenient(message)
    pool.Add(copy)


@cache  # the twin of a contract is the same for all its messages
def _twin_pool(contract: FileDescriptor) -> DescriptorPool:
    pool = DescriptorPool()
    _add(pool, contract)
    return pool
