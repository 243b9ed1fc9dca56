"""``deeplog-grpc serve``: answer gRPC calls with model bundles."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from deeplog_grpc.cli.console import ConfigOption, SetOption, settings_of
from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest import FixedApplications, RecordIngest
from deeplog_grpc.models import set_threads
from deeplog_grpc.receivers import attach
from deeplog_grpc.serving import Server, ServerState
from deeplog_grpc.serving import serve as serve_state
from deeplog_grpc.settings import Settings
from deeplog_grpc.storage import bundle_checksum, load_bundle


def serve(
    model: Annotated[list[Path], typer.Option(help="Model bundle; repeat it for several applications.")],
    listen: Annotated[str | None, typer.Option(help="HOST:PORT; port 0 = any free one.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder for feedback, versions, anomalies [default: MODEL.state].")
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Serve model bundles until SIGTERM or SIGINT; accepted work is finished first.

    **Example:** `deeplog-grpc serve --model model --listen 127.0.0.1:50051`
    """
    settings = settings_of(config, assignments, server__listen=listen, state__directory=state)
    models: dict[str, tuple[ApplicationModel, str]] = {}
    for directory in model:
        loaded = load_bundle(directory)
        if loaded.application in models:
            raise InputError(f"a second bundle of application '{loaded.application}'", field=str(directory))
        models[loaded.application] = (loaded, bundle_checksum(directory))
    set_threads(settings.server.torch_threads)  # before anything is learned: it may tell in the last bit of a weight
    kept = ServerState(
        settings.state.directory or Path(f"{model[0].absolute()}.state"),
        models,
        state=settings.state,
        feedback=settings.feedback,
        drift=settings.drift,
        detector=settings.detector,
    )
    try:
        asyncio.run(
            serve_state(
                kept,
                settings.server,
                settings.ingest,
                deliveries=settings.deliveries,
                prepare=lambda server: _attach(server, settings),
            )
        )
    finally:
        kept.close()


def _attach(server: Server, settings: Settings) -> None:
    applications = FixedApplications(server.applications)
    attach(server, settings.receivers, RecordIngest(applications, settings.ingest, settings.routing))
