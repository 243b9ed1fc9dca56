"""What the journal says of an application's past: what each version has learned, in the log keys of the bundle of now.

Log keys are numbers of a bundle. What was said on another bundle is read by the texts of its templates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.feedback import Knowledge, Lesson
from deeplog_grpc.parsing import Parser
from deeplog_grpc.serving.evidence import evidence_of, lesson_of
from deeplog_grpc.storage import Journal, Record, StoredAnomaly, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """The anomalies that feedback names, and what they teach."""

    numbers: tuple[int, ...]
    """Of stored anomalies."""
    lessons: tuple[Lesson, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data for the journal."""
        return {"numbers": list(self.numbers), "lessons": [lesson.to_json() for lesson in self.lessons]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Meant":
        """Read what :meth:`to_json` wrote."""
        return cls(
            numbers=tuple(map(int, data["numbers"])),
            lessons=tuple(map(Lesson.from_json, data["lessons"])),
        )


class Lineage:
    """The past of an application, as it is served from one bundle.

    Parameters
    ----------
    base : ApplicationModel
        What the bundle holds.
    checksum : str
        Of the bundle.
    journal : Journal
    max_lessons : int
        Lessons that a version looks after.
    """

    def __init__(self, base: ApplicationModel, checksum: str, journal: Journal, *, max_lessons: int) -> None:
        self._application = base.application
        self._checksum = checksum
        self._journal = journal
        self._max_lessons = max_lessons
        self._own_keys = {template.text: template.key for template in base.parser.templates()}
        self._bases: dict[int, str] = {}
        self._renames: dict[str, dict[int, int]] = {}

    def meant(self, anomalies: Sequence[StoredAnomaly], *, anywhere: bool) -> Meant:
        """What stored anomalies teach, but for those of an earlier bundle whose log keys this one does not have."""
        pairs = [
            (anomaly.number, lesson)
            for anomaly in anomalies
            if (lesson := self.lesson(anomaly, anywhere=anywhere)) is not None
        ]
        return Meant(
            numbers=tuple(number for number, _ in pairs), lessons=tuple(dict.fromkeys(lesson for _, lesson in pairs))
        )

    def is_of_bundle(self, anomaly: StoredAnomaly) -> bool:
        """Whether the version that found an anomaly stands on this bundle: its log keys are this one's."""
        return self._base_of(evidence_of(anomaly).verdict.model_version) == self._checksum

    def lesson(self, anomaly: StoredAnomaly, *, anywhere: bool = False) -> Lesson | None:
        """What a stored anomaly teaches; None if this bundle has not all of its log keys."""
        verdict = evidence_of(anomaly).verdict
        return self._moved(lesson_of(verdict, anywhere=anywhere), self._base_of(verdict.model_version))

    def meant_by(self, record: Record) -> Meant:
        """What a record means, in the log keys of this bundle."""
        meant, base = Meant.from_json(record.content), record.content.get("base", self._checksum)
        moved = [self._moved(lesson, base) for lesson in meant.lessons]
        return Meant(numbers=meant.numbers, lessons=tuple(dict.fromkeys(one for one in moved if one is not None)))

    def confirmed(self, before: int | None = None) -> tuple[Lesson, ...]:
        """All that was ever confirmed, or before a record."""
        return tuple(
            lesson
            for record in self._journal.records(self._application)
            if record.outcome is not None and record.content.get("label") == "confirmed"
            if before is None or record.sequence < before
            for lesson in self.meant_by(record).lessons
        )

    def knowledge_of(self, version: int) -> Knowledge:
        """What a version has learned, as it was when the version was made."""
        knowledge = Knowledge()
        for _, lessons in self.line(version):
            knowledge = knowledge.with_lessons(lessons, limit=self._max_lessons)
        return knowledge

    def line(self, version: int) -> list[tuple[Version, list[Lesson]]]:
        """The versions from training to this one, each with what it learned."""
        known = {found.version: found for found in self._journal.versions(self._application)}
        line = []
        while version:
            found = known[version]
            line.append((found, [Lesson.from_json(lesson) for lesson in found.details["lessons"]]))
            version = found.parent
        return line[::-1]

    def of_other_bundles(self) -> list[tuple[Lesson, Lesson | None]]:
        """What was learned on the bundles before, oldest first, with the same in the log keys of this one, or None."""
        _, *replaced = self._bundles()
        return [
            (lesson, self._moved(lesson, versions[-1].base))
            for versions in reversed(replaced)
            for lesson in self.knowledge_of(versions[-1].version).lessons
        ]

    def first_version(self) -> int:
        """The version that the bundle of now was given."""
        return self._bundles()[0][0].version

    def _bundles(self) -> list[list[Version]]:
        """The versions of each time that a bundle was served, in order; the bundle of now first."""
        times: list[list[Version]] = []
        for version in reversed(self._journal.versions(self._application)):
            if version.cause == "training":
                times.append([])
            times[-1].append(version)
        return times[::-1]

    def _base_of(self, version: int) -> str:
        """Checksum of the bundle that a version stands on; empty = there is no such version."""
        if version not in self._bases:
            self._bases = {found.version: found.base for found in self._journal.versions(self._application)}
        return self._bases.get(version, "")

    def _moved(self, lesson: Lesson, base: str) -> Lesson | None:
        """A lesson in the log keys of this bundle; None if it has not all of them."""
        return lesson if base == self._checksum else lesson.renamed(self._renamed(base))

    def _renamed(self, base: str) -> Mapping[int, int]:
        """Log keys of another bundle -> those of this one with the same template."""
        if base not in self._renames:
            state = self._journal.parser(self._application, base)
            other = [] if state is None else Parser.from_state(state).templates()
            self._renames[base] = {one.key: self._own_keys[one.text] for one in other if one.text in self._own_keys}
        return self._renames[base]
