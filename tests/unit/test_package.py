import importlib
import importlib.metadata
import importlib.resources
import pkgutil

import pytest

import deeplog_grpc


def _packages() -> list[str]:
    return [
        module.name
        for module in pkgutil.walk_packages(deeplog_grpc.__path__, "deeplog_grpc.")
        if module.ispkg and module.name not in ("deeplog_grpc.v1", "deeplog_grpc.foreign")
    ]


@pytest.mark.parametrize("name", _packages())
def test_what_a_package_exports_is_there_sorted_and_explained(name: str) -> None:
    package = importlib.import_module(name)
    exported: list[str] = package.__all__
    constants = [member for member in exported if member.isupper()]
    classes = [member for member in exported if member[0].isupper() and not member.isupper()]
    functions = [member for member in exported if member[0].islower()]
    assert exported == [*sorted(constants), *sorted(classes), *sorted(functions)]  # isort's order, as ruff wants it
    assert all(hasattr(package, member) for member in exported)
    assert package.__doc__


def test_there_are_packages_to_check() -> None:
    assert {"deeplog_grpc.detection", "deeplog_grpc.storage", "deeplog_grpc.models"} <= set(_packages())


def test_the_version_is_that_of_the_installed_distribution() -> None:
    assert deeplog_grpc.__version__ == importlib.metadata.version("deeplog-grpc")


def test_types_are_shipped() -> None:
    assert importlib.resources.files("deeplog_grpc").joinpath("py.typed").is_file()
