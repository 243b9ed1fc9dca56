import threading

import pytest

from deeplog_grpc.errors import InputError
from deeplog_grpc.receivers.decoding import LARGE_BYTES, decoded


@pytest.mark.parametrize("size", [10, LARGE_BYTES])
async def test_what_is_large_is_decoded_beside_the_event_loop(size: int) -> None:
    def decode(raw: bytes) -> str:
        if raw.endswith(b"?"):
            raise InputError("undecodable")
        return threading.current_thread().name

    assert (await decoded(decode, b"x" * size)).startswith("decoding") == (size == LARGE_BYTES)
    with pytest.raises(InputError):
        await decoded(decode, b"x" * size + b"?")
