import pytest

from deeplog_grpc.detection.paths import BatchPaths, Past, Path, new_path, packed, past_of, tail_items


def walk(path: Path, keys: range, entries: int) -> list[Path]:
    """What a detector does with the entries of one session; the path of each."""
    paths = []
    for key in keys:
        if len(path) > tail_items(entries):
            path = packed(path, entries)
        path += (key, 10 * key)
        paths.append(path)
    return paths


def told(past: Past | None) -> tuple[list[int], list[int], int]:
    assert past is not None
    return past.keys.tolist(), past.times_ns.tolist(), past.dropped


@pytest.mark.parametrize("entries", [1, 2, 3, 5, 64, 65, 256])
def test_at_most_the_last_entries_are_remembered_and_the_others_counted(entries: int) -> None:
    path = new_path(whole=True)
    for key in range(600):
        (path,) = walk(path, range(key, key + 1), entries)
        keys, times, dropped = told(past_of(path))
        assert keys == list(range(dropped, key + 1))
        assert times == [10 * key for key in keys]
        assert min(key + 1, max(1, entries // 2)) <= len(keys) <= entries


@pytest.mark.parametrize("size", [1, 7, 100, 1_000])
@pytest.mark.parametrize("entries", [1, 5, 70, 256])
def test_the_past_of_an_entry_does_not_depend_on_the_batch(entries: int, size: int) -> None:
    found, one_by_one = [], []
    path = new_path(whole=True)
    for start in range(0, 1_000, size):
        paths = walk(path, range(start, min(start + size, 1_000)), entries)
        batch, path = BatchPaths(paths), paths[-1]
        found += [told(batch.past(row)) for row in range(len(paths))]
    path = new_path(whole=True)
    for key in range(1_000):
        (path,) = walk(path, range(key, key + 1), entries)
        one_by_one.append(told(past_of(path)))
    assert found == one_by_one


def test_a_past_begins_with_its_session_only_when_nothing_is_missing() -> None:
    path = walk(new_path(whole=True), range(4), 4)[-1]
    assert past_of(path).begins
    assert not past_of(walk(path, range(4, 5), 4)[-1]).begins
    assert not past_of(new_path(whole=False)).begins


def test_without_paths_nothing_is_known() -> None:
    assert BatchPaths([]).past(3) is None
