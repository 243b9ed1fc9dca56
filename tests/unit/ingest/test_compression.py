import gzip
import zlib
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest.compression import decompress

COMPRESS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("compression", COMPRESS)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=4))
def test_members_are_joined(compression: str, contents: list[bytes]) -> None:
    content = b"".join(contents)
    raw = b"".join(COMPRESS[compression](part) for part in contents)
    assert decompress(raw, compression, max_bytes=len(content)) == content
    if content:
        with pytest.raises(InputError, match="the content is longer"):
            decompress(raw, compression, max_bytes=len(content) - 1)


@pytest.mark.parametrize("compression", COMPRESS)
def test_members_may_end_anywhere(compression: str) -> None:
    contents = [bytes([size % 251]) * size for size in range(1, 3000)]
    raw = b"".join(COMPRESS[compression](content) for content in contents)
    assert decompress(raw, compression, max_bytes=1 << 24) == b"".join(contents)


@pytest.mark.parametrize("compression", COMPRESS)
def test_what_is_cut_off_is_refused(compression: str) -> None:
    raw = COMPRESS[compression](bytes(range(256)) * 100)
    for size in (0, 1, 10, len(raw) // 2, len(raw) - 1):
        with pytest.raises(InputError, match=f"are not {compression}"):
            decompress(raw[:size], compression, max_bytes=1 << 20)


def test_a_frame_that_asks_for_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=26)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    raw = compressor.compress(b"x" * 100) + compressor.flush()
    with pytest.raises(InputError, match="are not zstd"):
        decompress(raw, "zstd", max_bytes=1 << 20)


def test_another_form_is_named() -> None:
    with pytest.raises(InputError, match="compression: 'deflate' is not known here: use one of gzip, zstd"):
        decompress(zlib.compress(b"a"), "deflate", max_bytes=10)


@pytest.mark.parametrize("compression", COMPRESS)
@given(st.data())
def test_changed_bytes_are_bounded_or_an_input_error(compression: str, data: st.DataObject) -> None:
    raw = bytearray(COMPRESS[compression](bytes(range(256)) * 4))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        content = decompress(bytes(raw), compression, max_bytes=5000)
    except InputError:
        return
    assert len(content) <= 5000
