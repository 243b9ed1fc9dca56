import gzip
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest import files
from deeplog_grpc.ingest.files import STDIN, expand, read_chunks, size_bytes

Write = Callable[..., Path]


def lines_of(path: Path | str) -> list[str]:
    found: list[str] = []
    for chunk in read_chunks(str(path)):
        assert chunk.first_line == len(found) + 1
        found += chunk.lines
    return found


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(content: bytes, name: str = "app.log") -> Path:
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return make


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"", []),
        (b"\n", [""]),
        (b"a\nb\n", ["a", "b"]),
        (b"a\nb", ["a", "b"]),  # no line end at the end
        (b"a\r\nb\r\n\r\n", ["a", "b", ""]),
        (b"a\rb\n", ["a\rb"]),
        (b"caf\xc3\xa9 \xff\xfe\n", ["café \ufffd\ufffd"]),
        (b"\xe2\x82", ["\ufffd"]),
        (b"a\x00b\x0bc\x0cd\n", ["a\x00b\x0bc\x0cd"]),  # these are no line ends
        ("a\u2028b\x85c\n".encode(), ["a\u2028b\x85c"]),
    ],
)
def test_lines(write: Write, content: bytes, lines: list[str]) -> None:
    assert lines_of(write(content)) == lines
    assert lines_of(write(gzip.compress(content), "app.log.gz")) == lines


@pytest.mark.parametrize("block", [1, 2, 7])
def test_where_blocks_end_does_not_matter(write: Write, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    text = "erste Zeile\r\nz\u00fcrich\n\nletzte"
    assert lines_of(write(text.encode())) == ["erste Zeile", "zürich", "", "letzte"]


@pytest.mark.parametrize("last", [b"", b"\n"])
def test_a_huge_line_is_cut_and_the_next_one_is_whole(
    write: Write, monkeypatch: pytest.MonkeyPatch, last: bytes
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 16)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 100)
    path = write(b"first\n" + b"x" * 10_000 + b"\nlast" + last)
    assert lines_of(path) == ["first", "x" * 100, "last"]


def test_a_huge_line_at_the_end_is_cut(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", 64)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 100)
    assert lines_of(write(b"x" * 10_000)) == ["x" * 100]


def test_progress_is_told_in_bytes_on_the_disk(write: Write) -> None:
    path = write(gzip.compress(b"line\n" * 100_000), "app.log.gz")
    assert [chunk.read_bytes for chunk in read_chunks(str(path))][-1] == path.stat().st_size == size_bytes([str(path)])


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b"a\nb")

    monkeypatch.setattr("sys.stdin", Stdin())
    assert expand([STDIN]) == [STDIN]
    assert size_bytes([STDIN]) is None
    assert lines_of(STDIN) == ["a", "b"]
    assert not Stdin.buffer.closed


def test_globs_are_sorted_and_keep_the_order_of_the_arguments(write: Write, tmp_path: Path) -> None:
    for name in ("b.log", "a.log", "c.txt"):
        write(b"x\n", name)
    (tmp_path / "folder.log").mkdir()
    found = expand([str(tmp_path / "c.txt"), str(tmp_path / "*.log")])
    assert [Path(path).name for path in found] == ["c.txt", "a.log", "b.log"]


def test_recursive_globs_pass_over_folders(write: Write, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(b"x\n", "sub/a.log")
    assert [Path(path).name for path in expand([str(tmp_path / "**")])] == ["a.log"]


def test_a_name_with_glob_characters_is_a_name_first(write: Write) -> None:
    path = write(b"x\n", "app[1].log")
    assert expand([str(path)]) == [str(path)]


@pytest.mark.parametrize("pattern", ["missing.log", "*.nothing"])
def test_what_names_nothing_is_refused_with_the_remedy(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(InputError, match="no such file: give a path, a quoted glob, or - for standard input"):
        expand([str(tmp_path / pattern)])


def test_a_folder_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        expand([str(tmp_path)])


GOOD = gzip.compress(b"hello world\n" * 1000 + bytes(range(256)) * 100, mtime=0)


@pytest.mark.parametrize(
    "content",
    [
        b"no gzip at all\n",
        GOOD[:-20],
        GOOD[:-1],
        GOOD[:30] + b"\xff\x55\xaa\x0f" * 4 + GOOD[46:],
        GOOD[:-8] + b"\0" * 8,
    ],
    ids=["not gzip", "cut short", "one byte less", "damaged inside", "wrong checksum"],
)
def test_a_damaged_gzip_file_is_named(write: Write, content: bytes) -> None:
    path = write(content, "app.log.gz")
    with pytest.raises(InputError) as caught:
        lines_of(path)
    assert str(caught.value).startswith(f"{path}: cannot be read: ")


@pytest.mark.parametrize("name", ["app.log", "app.log.gz"])
@pytest.mark.parametrize("block", [3, 16, 1 << 20])
def test_reading_goes_on_after_any_chunk_with_the_chunks_that_would_have_come(
    write: Write, monkeypatch: pytest.MonkeyPatch, name: str, block: int
) -> None:
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 20)
    text = b"first\r\n\nthe third is a long one, cut\n" + b"x" * 50 + b"\n" + b"short\n" * 9 + b"last"
    path = str(write(gzip.compress(text) if name.endswith("gz") else text, name))
    chunks = list(read_chunks(path))
    for number, chunk in enumerate(chunks):
        assert [later.lines for later in read_chunks(path, start=chunk.place)] == [
            later.lines for later in chunks[number + 1 :]
        ]
