import threading

import pytest

from deeplog_grpc.errors import InputError
from deeplog_grpc.serving.decoding import decoded


@pytest.mark.parametrize(("size", "is_beside"), [(10, False), (1 << 18, True)])
async def test_what_is_large_is_decoded_beside_the_event_loop(size: int, is_beside: bool) -> None:
    def decode(raw: bytes) -> bool:
        if raw.endswith(b"?"):
            raise InputError("undecodable")
        return threading.current_thread() is not threading.main_thread()

    assert await decoded(decode, b"x" * size) == is_beside
    with pytest.raises(InputError):
        await decoded(decode, b"x" * size + b"?")
