"""The image as far as it can be judged without building it: its file, what goes into it, and what locks that."""

import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deeplog_grpc.cli.app import COMMANDS
from tests.deploy.tools import DEPLOY, ROOT, run

DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
LOCK = DEPLOY / "docker" / "requirements.txt"
RELOCK = "run `make lock`"
OWN_INDEX = "torch"
"""Installed by itself, from an index that has builds for the processor alone."""


def instructions() -> list[tuple[str, str]]:
    """Instructions of the file and what follows them, joined to lines."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(number for number, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def environment() -> dict[str, str]:
    """The variables of the image."""
    return {
        name: value
        for instruction, rest in last_stage()
        if instruction == "ENV"
        for name, _, value in (pair.partition("=") for pair in rest.split())
    }


def locked() -> dict[str, tuple[str, int]]:
    """Name -> version and number of hashes."""
    found: dict[str, tuple[str, int]] = {}
    for block in re.split(r"\n(?=\S)", LOCK.read_text()):
        if matched := re.match(r"([\w.-]+)==(\S+)", block):
            found[canonicalize_name(matched[1])] = (matched[2], block.count("--hash=sha256:"))
    return found


def constrained() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def needed() -> Iterator[str]:
    """Packages that the program needs on Linux, those that they need included."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    waiting, seen = [Requirement(text) for text in project["dependencies"]], set[str]()
    while waiting:
        one = waiting.pop()
        name = canonicalize_name(one.name)
        if name in seen or (
            one.marker and not any(one.marker.evaluate({"extra": extra}) for extra in ("", *one.extras))
        ):
            continue
        seen.add(name)
        yield name
        if name != OWN_INDEX:
            waiting += [Requirement(text) for text in requires(name) or ()]


def test_the_linter_finds_nothing(hadolint: Path) -> None:
    assert not run(hadolint, "--no-color", DOCKERFILE)


def test_it_runs_without_root_and_writes_to_its_state_only() -> None:
    found = last_stage()
    (user,) = (rest for name, rest in found if name == "USER")
    uid, _, gid = user.partition(":")
    assert min(int(uid), int(gid)) >= 10_000
    (volume,) = (rest for name, rest in found if name == "VOLUME")
    owned = [rest.split()[-1] for name, rest in found if name == "COPY" and f"--chown={user}" in rest]
    assert owned == [volume] == [environment()["DEEPLOG_GRPC_STATE__DIRECTORY"]]
    assert environment()["HOME"] == "/tmp"
    assert environment()["PYTHONDONTWRITEBYTECODE"] == "1"
    assert not any(name == "RUN" for name, _ in found)  # nothing is installed beside what the stages before checked


def test_addresses_stay_on_loopback_unless_who_starts_it_says_otherwise() -> None:
    assert not any("LISTEN" in name or "ALLOW_PUBLIC" in name for name in environment())


def test_it_starts_the_server_and_asks_for_its_health_by_commands_that_are_there() -> None:
    found = dict(last_stage())
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    (program,) = json.loads(found["ENTRYPOINT"])
    (command,) = json.loads(found["CMD"])
    health = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    assert program == health[0]
    assert program in scripts
    assert {command, health[1]} <= COMMANDS.keys()


def test_the_bill_of_materials_is_in_the_image() -> None:
    made = next(rest for name, rest in instructions() if name == "RUN" and "cyclonedx-py environment" in rest)
    written = re.search(r"--output-file (\S+)", made)
    assert written
    (copied,) = (rest for name, rest in last_stage() if name == "COPY" and "--from=sbom" in rest)
    assert copied.split()[1:] == [written[1], "/usr/share/doc/deeplog-grpc/sbom.cdx.json"]


def test_what_is_copied_is_sent_to_the_builder_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for name, rest in instructions()
        if name == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / source).exists() for source in copied)


def test_all_that_is_needed_is_locked_in_the_versions_that_are_tested() -> None:
    lock, versions = locked(), constrained()
    assert set(needed()) - lock.keys() == {OWN_INDEX}, RELOCK
    assert versions[OWN_INDEX]
    for name, (version, hashes) in lock.items():
        assert hashes, name
        assert version == versions.get(name, version), f"{name}: {RELOCK}"
    assert not [name for name in lock if name.startswith(("nvidia-", "cuda-", "triton"))]


@pytest.mark.parametrize("image", [rest for name, rest in instructions() if name in ("FROM", "ARG")])
def test_images_have_a_version(image: str) -> None:
    assert "latest" not in image
    if image.startswith("PYTHON_IMAGE="):
        assert re.search(r":\d", image)
