import pytest
from pydantic import ValidationError

from deeplog_grpc.errors import ConfigError
from deeplog_grpc.serving import ServerConfig


@pytest.mark.parametrize("listen", ["", "50051", ":50051", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", "[::1]"])
def test_what_is_no_address_is_refused_with_an_example(listen: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.listen: .* is not HOST:PORT, for example 127\.0\.0\.1:50051"):
        ServerConfig(listen=listen)


def test_a_queue_that_could_not_take_one_message_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^server\.max_queue_bytes: "):
        ServerConfig(max_queue_bytes=2**20, max_message_bytes=2**21)


@pytest.mark.parametrize("wrong", [{"grace_s": 0}, {"max_batch_entries": 0}, {"torch_threads": 0}, {"unknown": 1}])
def test_values_out_of_range_and_unknown_keys_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError) as caught:
        ServerConfig(**wrong)  # type: ignore[arg-type]
    assert caught.value.errors()[0]["loc"] == (next(iter(wrong)),)
