"""The journal: records are there once, and come whole with their versions."""

import sqlite3
from collections.abc import Iterator
from math import inf
from pathlib import Path
from typing import Any

import pytest

from deeplog_grpc.errors import InputError, StateError
from deeplog_grpc.storage import Journal, NewRecord, NewVersion, Record


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    journal = Journal(path, keep_versions=3, clock_ns=lambda: 12)
    yield journal
    journal.close()


def new(feedback_id: str = "fb-1", **values: Any) -> NewRecord:
    values = {"application": "shop", "kind": "feedback", "digest": "d", "content": {"asked": feedback_id}, **values}
    return NewRecord(feedback_id=feedback_id, **values)


def made(version: int, **values: Any) -> NewVersion:
    return NewVersion(
        **{
            "application": "shop",
            "version": version,
            "parent": version - 1,
            "cause": "feedback",
            "base": "sha of the bundle",
            "details": {"steps": version},
            "snapshot": b"models %d" % version,
            **values,
        }
    )


def base(journal: Journal, version: int = 1) -> None:
    journal.publish(made(version, parent=0, cause="training", snapshot=None))


def learn(journal: Journal, version: int, **values: Any) -> Record:
    """A record that makes a version."""
    record = journal.accept(new(f"fb-{version}")).record
    journal.finish(record.sequence, {"outcome": "learned"}, made(version, **values))
    return record


class TestRecords:
    def test_a_record_is_read_as_it_was_accepted(self, journal: Journal) -> None:
        content = {"cases": [1, 2.5, inf, None, "é\u2028\0", "\ud800"], "label": {"deep": True}}
        accepted = journal.accept(new(content=content, actor="ann", note="a new release", kind="adapt"))
        assert accepted.record == Record(
            sequence=1,
            application="shop",
            feedback_id="fb-1",
            kind="adapt",
            actor="ann",
            note="a new release",
            received_ns=12,
            digest="d",
            content=content,
            outcome=None,
            version=None,
        )
        assert not accepted.is_repeat
        assert journal.pending("shop") == journal.records("shop") == [accepted.record]

    def test_a_repetition_finds_the_first_one_and_its_outcome(self, journal: Journal) -> None:
        first = journal.accept(new()).record
        again = journal.accept(new(content={"resolved": "to something else by now"}))
        assert (again.record, again.is_repeat) == (first, True)
        journal.finish(first.sequence, {"outcome": "recorded"}, None)
        again = journal.accept(new())
        assert again.is_repeat
        assert again.record.outcome == {"outcome": "recorded"}
        assert again.record == journal.find("shop", "fb-1", kind="feedback", digest="d")
        assert len(journal.records("shop")) == 1

    @pytest.mark.parametrize("other", [{"digest": "e"}, {"kind": "rollback"}])
    def test_another_use_of_the_name_is_refused(self, journal: Journal, other: dict[str, Any]) -> None:
        journal.accept(new())
        with pytest.raises(InputError, match="'fb-1' was used for another request") as refused:
            journal.accept(new(**other))
        assert refused.value.field == "feedback_id"
        with pytest.raises(InputError, match="another request"):
            journal.find("shop", "fb-1", **{"kind": "feedback", "digest": "d", **other})

    def test_names_are_those_of_an_application(self, journal: Journal) -> None:
        assert journal.find("shop", "fb-1", kind="feedback", digest="d") is None
        journal.accept(new())
        assert not journal.accept(new(application="bank", digest="e")).is_repeat
        assert [record.sequence for record in journal.records("bank")] == [2]

    def test_pending_ones_come_in_order(self, journal: Journal) -> None:
        sequences = [journal.accept(new(f"fb-{count}")).record.sequence for count in range(4)]
        journal.finish(sequences[1], {}, None)
        assert [record.sequence for record in journal.pending("shop")] == [1, 3, 4]
        assert [record.sequence for record in journal.records("shop", after=2)] == [3, 4]
        assert journal.pending("bank") == []


class TestVersions:
    def test_a_version_comes_with_the_outcome(self, journal: Journal) -> None:
        base(journal)
        record = learn(journal, 2)
        newest, training = journal.versions("shop")
        assert journal.current("shop") == newest
        assert (newest.version, newest.parent, newest.cause, newest.sequence) == (2, 1, "feedback", record.sequence)
        assert (newest.base, newest.details, newest.is_kept) == ("sha of the bundle", {"steps": 2}, True)
        assert (training.version, training.cause, training.sequence) == (1, "training", None)
        assert (training.is_kept, training.sha256, training.created_ns) == (False, "", 12)
        assert journal.snapshot("shop", 2) == b"models 2"
        (stored,) = journal.records("shop")
        assert (stored.outcome, stored.version) == ({"outcome": "learned"}, 2)
        assert journal.pending("shop") == []

    def test_without_a_version_the_one_in_force_stays(self, journal: Journal) -> None:
        assert journal.current("shop") is None
        base(journal, 4)
        journal.finish(journal.accept(new()).record.sequence, {"outcome": "refused"}, None)
        current = journal.current("shop")
        assert current is not None
        assert current.version == 4
        assert journal.records("shop")[0].version is None

    @pytest.mark.parametrize(
        "wrong",
        [
            made(3, parent=1),
            made(1, parent=0),
            made(2, application="bank", parent=0),
            made(2, parent=7),
            made(2, details={"what": object()}),
        ],
    )
    def test_a_version_out_of_line_changes_nothing(self, journal: Journal, wrong: NewVersion) -> None:
        base(journal)
        record = journal.accept(new()).record
        with pytest.raises((ValueError, TypeError, sqlite3.IntegrityError)):
            journal.finish(record.sequence, {}, wrong)
        assert journal.pending("shop") == [record]
        assert len(journal.versions("shop")) == 1
        journal.finish(record.sequence, {}, made(2))

    def test_a_record_is_finished_once(self, journal: Journal) -> None:
        record = journal.accept(new()).record
        journal.finish(record.sequence, {}, None)
        for sequence in (record.sequence, 99):
            with pytest.raises(ValueError, match=f"record {sequence} is not there or is finished"):
                journal.finish(sequence, {"other": 1}, None)
        assert journal.records("shop")[0].outcome == {}

    def test_a_training_has_to_be_greater_than_all_before(self, journal: Journal) -> None:
        base(journal, 3)
        learn(journal, 4)
        with pytest.raises(ValueError, match="not the greatest"):
            base(journal, 4)
        base(journal, 9)
        learn(journal, 10)
        assert [version.version for version in journal.versions("shop")] == [10, 9, 4, 3]

    def test_the_last_snapshots_are_kept(self, journal: Journal) -> None:
        base(journal)
        for version in range(2, 7):
            learn(journal, version)
        journal.publish(made(1, application="bank", parent=0, cause="training"))
        assert [version.version for version in journal.versions("shop") if version.is_kept] == [6, 5, 4]
        assert journal.snapshot("bank", 1) == b"models 1"
        for version in (1, 3):
            with pytest.raises(StateError, match=rf"version {version} of 'shop' is not kept.*or let the server make"):
                journal.snapshot("shop", version)
        with pytest.raises(InputError, match="there is no version 7 of 'shop'"):
            journal.snapshot("shop", 7)

    def test_the_version_in_force_is_always_kept(self, path: Path) -> None:
        journal = Journal(path, keep_versions=0)
        base(journal)
        learn(journal, 2)
        learn(journal, 3)
        assert [version.is_kept for version in journal.versions("shop")] == [True, False, False]
        journal.close()

    def test_a_damaged_snapshot_is_refused(self, journal: Journal, path: Path) -> None:
        base(journal)
        learn(journal, 2)
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE versions SET snapshot = x'00' WHERE version = 2")
        connection.close()
        with pytest.raises(StateError, match="snapshot of version 2 of 'shop' is damaged: give another version"):
            journal.snapshot("shop", 2)


class TestOpening:
    def test_what_was_there_is_there_again(self, path: Path) -> None:
        journal = Journal(path, keep_versions=3)
        base(journal)
        learn(journal, 2)
        journal.accept(new("pending"))
        before = journal.records("shop"), journal.versions("shop"), journal.snapshot("shop", 2)
        journal.close()
        journal = Journal(path, keep_versions=3)
        assert (journal.records("shop"), journal.versions("shop"), journal.snapshot("shop", 2)) == before
        journal.close()

    def test_it_waits_for_the_disk(self, journal: Journal) -> None:
        (synchronous,) = journal._database._writer.execute("PRAGMA synchronous").fetchone()
        (mode,) = journal._database._writer.execute("PRAGMA journal_mode").fetchone()
        assert (synchronous, mode) == (2, "wal")

    def test_a_newer_format_is_refused(self, path: Path) -> None:
        Journal(path, keep_versions=1).close()
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA user_version = 9")
        connection.close()
        with pytest.raises(StateError, match="the journal has format 9"):
            Journal(path, keep_versions=1)
