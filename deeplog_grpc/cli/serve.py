"""``deeplog-grpc serve``: answer gRPC calls with model bundles, and learn applications that have none."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deeplog_grpc.cli.console import ConfigOption, SetOption, settings_of
from deeplog_grpc.detection import ApplicationModel
from deeplog_grpc.errors import InputError
from deeplog_grpc.ingest import RecordIngest
from deeplog_grpc.models import set_threads
from deeplog_grpc.receivers import attach
from deeplog_grpc.serving import Server, ServerState
from deeplog_grpc.serving import serve as run
from deeplog_grpc.serving.logs import configure_logging
from deeplog_grpc.serving.metrics_http import MetricsListener
from deeplog_grpc.serving.tracing_config import start_tracing
from deeplog_grpc.settings import Settings
from deeplog_grpc.storage import bundle_checksum, load_bundle

if TYPE_CHECKING:
    from deeplog_grpc.outputs.service import Outputs

DEFAULT_STATE = Path("deeplog-grpc.state")
"""Where the state is kept when there is no bundle to keep it beside."""


def serve(
    model: Annotated[
        list[Path] | None, typer.Option(help="Model bundle; repeat it for several applications. Default: none.")
    ] = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT; port 0 = any free one.")] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            help="Folder for feedback, versions, anomalies, learned models [default: MODEL.state, else "
            "deeplog-grpc.state]."
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes, 1 to 64, that divide the sessions, each on a core; verdicts are the same."),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
) -> None:
    """Serve until SIGTERM or SIGINT; accepted work is finished first.

    Applications without a model are learned from what is sent (unless learning.enabled is false): `deeplog-grpc
    applications` shows how far they have come.

    **Example:** `deeplog-grpc serve --listen 127.0.0.1:50051`, or with what was trained: `... --model model`, on four
    cores: `... --model model --workers 3`
    """
    settings = settings_of(config, assignments, server__listen=listen, server__workers=workers, state__directory=state)
    configure_logging(settings.logs)
    bundles = model or []
    models: dict[str, tuple[ApplicationModel, str]] = {}
    for directory in bundles:
        loaded = load_bundle(directory)
        if loaded.application in models:
            raise InputError(f"a second bundle of application '{loaded.application}'", field=str(directory))
        models[loaded.application] = (loaded, bundle_checksum(directory))
    set_threads(settings.server.torch_threads)  # before anything is learned: it may tell in the last bit of a weight
    directory = settings.state.directory or (Path(f"{bundles[0].absolute()}.state") if bundles else DEFAULT_STATE)
    kept = ServerState(
        directory,
        models,
        state=settings.state,
        feedback=settings.feedback,
        drift=settings.drift,
        detector=settings.detector,
        learning=settings.learning,
        recipe=settings.recipe(),
        recovery=settings.recovery,
        workers=settings.server.workers,
        torch_threads=settings.server.torch_threads,
        redaction=settings.redaction,
    )
    try:
        asyncio.run(_serve(kept, directory, settings))
    finally:
        kept.close()


async def _serve(kept: ServerState, directory: Path, settings: Settings) -> None:
    """Serve; what goes out begins before the first entry is taken, and ends after the last was scored."""
    from deeplog_grpc.outputs.service import Outputs  # brings an HTTP client that no other command needs

    tracing = start_tracing(settings.tracing)
    outputs = Outputs(
        settings.outputs,
        kept.anomalies,
        directory,
        newest=lambda: kept.recorder.last_number,
        redactor=kept.redactor,
    )
    try:
        await outputs.start()
        server = Server(
            kept.detectors,
            settings.server,
            settings.ingest,
            state=kept,
            deliveries=settings.deliveries,
            routing=settings.routing,
            tls=settings.tls,
            access=settings.access,
            limits=settings.limits,
            interceptors=() if tracing is None else (tracing,),
        )
        _attach(server, settings, outputs)
        await run(server)
    finally:
        await outputs.stop()
        if tracing is not None:
            await asyncio.to_thread(tracing.close)


def _attach(server: Server, settings: Settings, outputs: "Outputs") -> None:
    from deeplog_grpc.outputs.metrics import OutputsCollector

    records = RecordIngest(server.applications, settings.ingest, settings.routing)
    attach(server, settings.receivers, records, sink=outputs.sink)
    server.metrics.registry.register(OutputsCollector(outputs))
    if settings.metrics.listen is not None:
        listener = MetricsListener(server.metrics, settings.metrics, server.health, server.certificates, server.gate)
        server.add_admin_listener(listener)
