"""``deeplog-grpc serve``: answer gRPC calls with model bundles."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from deeplog_grpc.cli.console import ConfigOption, SetOption, settings_of
from deeplog_grpc.detection import Detector
from deeplog_grpc.errors import InputError
from deeplog_grpc.serving import serve as serve_detectors
from deeplog_grpc.storage import load_bundle


def serve(
    model: Annotated[list[Path], typer.Option(help="Model bundle; repeat it for several applications.")],
    listen: Annotated[str | None, typer.Option(help="HOST:PORT; port 0 = any free one.")] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Serve model bundles until SIGTERM or SIGINT; accepted work is finished first.

    **Example:** `deeplog-grpc serve --model model --listen 127.0.0.1:50051`
    """
    settings = settings_of(config, assignments, server__listen=listen)
    detectors: dict[str, Detector] = {}
    for directory in model:
        detector = Detector(load_bundle(directory), settings.detector)
        if detector.application in detectors:
            raise InputError(f"a second bundle of application '{detector.application}'", field=str(directory))
        detectors[detector.application] = detector
    asyncio.run(serve_detectors(detectors, settings.server, settings.ingest))
