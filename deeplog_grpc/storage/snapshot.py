"""A model version as one piece of bytes: what feedback changed, for the journal.

The rest (configuration, known-normal sessions, workflow) is in the bundle, and the parser is kept by itself: it learns
on, whatever version is in force.
"""

import io
import zipfile
from dataclasses import replace

from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.errors import StateError
from deeplog_grpc.storage.bundle import DAMAGED, fixed_parts, learned_parts, read_parts


def pack_snapshot(model: ApplicationModel) -> bytes:
    """The models of a version; the parser is not touched."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for name, content in learned_parts(model).items():
            archive.writestr(zipfile.ZipInfo(name), content)  # without the time: the same models, the same bytes
    return packed.getvalue()


def unpack_snapshot(snapshot: bytes, base: ApplicationModel, *, version: int) -> ApplicationModel:
    """The models of a version that stands on a bundle; its parser is the bundle's.

    Raises
    ------
    StateError
        If the snapshot does not fit the bundle.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(snapshot)) as archive:
            learned = {name: archive.read(name) for name in archive.namelist()}
        parts = {**fixed_parts(base), **learned}
        model = read_parts(parts, base.parser, application=base.application, version=version)
        return replace(model, workflow=base.workflow)  # the same one, so that diagnoses go on by what they remember
    except (*DAMAGED, zipfile.BadZipFile) as error:
        raise StateError(
            f"the snapshot of version {version} does not fit the bundle: {error}", field="state"
        ) from error
