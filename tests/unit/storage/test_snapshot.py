from dataclasses import replace

import pytest

from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.errors import StateError
from deeplog_grpc.storage import pack_snapshot, unpack_snapshot
from tests.workflows import CHOICE, SEQUENCE


def test_a_version_has_the_workflow_of_its_bundle(trained: ApplicationModel) -> None:
    base = replace(trained, workflow=CHOICE)
    snapshot = pack_snapshot(replace(base, version=9, workflow=SEQUENCE))
    found = unpack_snapshot(snapshot, base, version=9)
    assert found.version == 9
    assert found.workflow is CHOICE, "what diagnoses remember of it is of use to every version"
    assert found.key_model.vocabulary == trained.key_model.vocabulary


def test_what_is_no_snapshot_is_refused(trained: ApplicationModel) -> None:
    with pytest.raises(StateError, match="version 2 does not fit the bundle"):
        unpack_snapshot(b"no archive", trained, version=2)
