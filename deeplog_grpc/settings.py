"""The configuration: one YAML file, each key overridden by environment and flag, all checked at the start.

A key ``server.listen`` is the variable ``DEEPLOG_GRPC_SERVER__LISTEN`` and the flag ``--set server.listen=...``. Flags
win over the environment, and that over the file.
"""

import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)

from deeplog_grpc.access.config import AccessConfig, TlsConfig
from deeplog_grpc.client.config import ClientConfig
from deeplog_grpc.detection import DetectorConfig, SessionConfig
from deeplog_grpc.errors import ConfigError
from deeplog_grpc.feedback import DriftConfig, FeedbackConfig
from deeplog_grpc.ingest.config import IngestConfig
from deeplog_grpc.ingest.routing import RoutingConfig
from deeplog_grpc.models import KeyModelConfig, ThresholdConfig, ValueModelConfig
from deeplog_grpc.outputs.config import OUTPUT_TYPES, OutputsConfig
from deeplog_grpc.parsing import ParserConfig
from deeplog_grpc.receivers.config import ReceiversConfig
from deeplog_grpc.serving.config import DeliveriesConfig, RecoveryConfig, ServerConfig
from deeplog_grpc.serving.limits_config import LimitsConfig
from deeplog_grpc.serving.logs import LogsConfig
from deeplog_grpc.serving.metrics_config import MetricsConfig
from deeplog_grpc.serving.tracing_config import TracingConfig
from deeplog_grpc.shipping.config import ShipConfig
from deeplog_grpc.storage import StateConfig
from deeplog_grpc.storage.redaction_config import RedactionConfig
from deeplog_grpc.training.config import LearningConfig
from deeplog_grpc.workflow import WorkflowConfig

if TYPE_CHECKING:  # training needs torch
    from deeplog_grpc.training import Recipe

ENV_PREFIX = "DEEPLOG_GRPC_"
CONFIG_VARIABLE = f"{ENV_PREFIX}CONFIG"
"""Names the YAML file where no flag does."""
_ENCODING = "utf-8"
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
"""What the reader raises: also for a date that is none, a number of too many digits, lists too deep in one another."""
_MAX_SAID = 300
"""Characters of what the reader says, and of a value that is shown."""
_UNKNOWN_KEY = ("unexpected_keyword_argument", "extra_forbidden")


class Settings(BaseSettings):
    """All sections of the configuration."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, use_attribute_docstrings=True
    )

    parser: ParserConfig = ParserConfig()
    """The parser, in training; the bundle keeps it."""
    sessions: SessionConfig = SessionConfig()
    """How entries are put together to sessions, in training; the bundle keeps it."""
    key_model: KeyModelConfig = KeyModelConfig()
    """Shape and training of the log key model; the bundle keeps it."""
    value_model: ValueModelConfig = ValueModelConfig()
    """Shape and training of the models of values and elapsed times; the bundle keeps it."""
    thresholds: ThresholdConfig = ThresholdConfig()
    """How rare something must be to be abnormal, in training; the bundle keeps it."""
    workflow: WorkflowConfig = WorkflowConfig()
    """How the workflow is built, in training; the bundle keeps what was built."""
    detector: DetectorConfig = DetectorConfig()
    """Limits of the scoring side."""
    ingest: IngestConfig = IngestConfig()
    """What is accepted as a log entry."""
    routing: RoutingConfig = RoutingConfig()
    """Which application, session and source records belong to that do not say so."""
    server: ServerConfig = ServerConfig()
    """How the server listens, what it admits and how it stops."""
    limits: LimitsConfig = LimitsConfig()
    """What one peer may have of the server, and how much memory the server may hold."""
    receivers: ReceiversConfig = ReceiversConfig()
    """Where else the server listens, for what shippers speak."""
    tls: TlsConfig = TlsConfig()
    """Certificates of the server's ports."""
    access: AccessConfig = AccessConfig()
    """Who may call what."""
    metrics: MetricsConfig = MetricsConfig()
    """Where the server tells Prometheus, and whoever looks after it, how it does."""
    logs: LogsConfig = LogsConfig()
    """What the server logs of itself."""
    tracing: TracingConfig = TracingConfig()
    """Where the server sends traces of its calls."""
    deliveries: DeliveriesConfig = DeliveriesConfig()
    """How long the server remembers what it answered, so that what is sent again is not applied again."""
    state: StateConfig = StateConfig()
    """Where the server keeps feedback, model versions and anomalies, and how much of it."""
    recovery: RecoveryConfig = RecoveryConfig()
    """How open sessions, and what the server remembers of deliveries, outlive its process."""
    redaction: RedactionConfig = RedactionConfig()
    """Secrets that are not stored or sent out as evidence."""
    learning: LearningConfig = LearningConfig()
    """When the server learns applications from what it is sent, and trains them anew."""
    feedback: FeedbackConfig = FeedbackConfig()
    """What an update of the models may do."""
    drift: DriftConfig = DriftConfig()
    """When alarms are drift."""
    outputs: OutputsConfig = {}
    """Where anomalies and scored records go: a name of your choice for each output, which keeps its place by it. Of an
    output `pager`, a key `url` is the variable DEEPLOG_GRPC_OUTPUTS__PAGER__URL."""
    client: ClientConfig = ClientConfig()
    """How the shipper, and all commands that ask a server, reach it."""
    ship: ShipConfig = ShipConfig()
    """The shipper: what it reads, where lines wait, and to whom it sends."""

    def recipe(self, *, seed: int = 0) -> "Recipe":
        """How models are trained."""
        from deeplog_grpc.training import Recipe

        return Recipe(
            parser=self.parser,
            sessions=self.sessions,
            key_model=self.key_model,
            value_model=self.value_model,
            thresholds=self.thresholds,
            workflow=self.workflow,
            seed=seed,
        )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_section(cls, section: Any) -> Any:
        """A section whose keys are all commented out is one with its defaults."""
        return {} if section is None else section


def load_settings(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Read the configuration.

    Parameters
    ----------
    path : Path, optional
        The YAML file; None = none.
    overrides : mapping
        Dotted key -> value, from flags; None is the value ``null``.

    Raises
    ------
    ConfigError
        Naming the bad key, its value and what is allowed.
    """

    class Sources(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            file = (YamlConfigSettingsSource(settings_cls, path, _ENCODING),) if path else ()
            return (init_settings, env_settings, *file)

    _check_file(path)
    _check_environment()
    try:
        loaded = Sources(**_nested(overrides or {}))
    except ValidationError as error:
        raise _config_error(error) from error
    except SettingsError as error:
        raise ConfigError(str(error)) from error
    return Settings.model_construct(**{name: getattr(loaded, name) for name in Settings.model_fields})


def _config_error(error: ValidationError) -> ConfigError:
    """The first thing wrong, with its path; a misspelt key comes before the one that is missing for it."""
    first = min(error.errors(), key=lambda found: found["type"] not in _UNKNOWN_KEY)
    place = [str(part) for part in first["loc"]]
    is_output = place[0] == "outputs"
    if is_output:
        del place[2:3]  # the type, which says which keys there are
    field = ".".join(place)[:_MAX_SAID]
    if first["type"] in _UNKNOWN_KEY:
        return ConfigError("no such key: 'deeplog-grpc config' prints all that there are", field=field)
    if first["type"].startswith("union_tag"):
        return ConfigError(f"must be one of {', '.join(OUTPUT_TYPES)}", field=f"{field}.type")
    if first["type"] == "missing":
        return ConfigError("must be given", field=field)
    # What belongs to an output may be a secret, or hold one.
    shown = "" if is_output else f" (value {_shown(first['input'])})"
    if first["type"] in ("tuple_type", "list_type"):
        return ConfigError(f"must be a list, such as ['a', 'b']{shown}", field=field)
    return ConfigError(f"{first['msg'].removeprefix('Value error, ')[:_MAX_SAID]}{shown}", field=field)


def parse_overrides(assignments: Sequence[str]) -> dict[str, Any]:
    """``key=value`` texts of ``--set`` flags; values are read as YAML.

    Raises
    ------
    ConfigError
        If one has no ``=``, or its value is not YAML.

    Examples
    --------
    >>> parse_overrides(["key_model.history=5", "sessions.patterns=[a, b]"])
    {'key_model.history': 5, 'sessions.patterns': ['a', 'b']}
    """
    overrides = {}
    for assignment in assignments:
        key, found, value = assignment.partition("=")
        if not found:
            raise ConfigError(
                f"{assignment!r} is not KEY=VALUE, for example server.listen=127.0.0.1:50051", field="--set"
            )
        try:
            overrides[key.strip()] = yaml.safe_load(value)
        except _NOT_YAML as error:
            raise ConfigError(f"the value {_shown(value)} is not YAML", field=key) from error
    return overrides


def _shown(value: Any) -> str:
    """A value in an error: not all of one that is long, or that refers to itself again and again."""
    try:
        return _short.repr(value)[:_MAX_SAID]
    except ValueError:  # a number of thousands of digits
        return "too long to be shown"


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 100
_short.maxlist = _short.maxtuple = _short.maxdict = 10
_short.maxlevel = 3


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    tree: dict[str, Any] = {}
    for key, value in overrides.items():
        *sections, name = key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ConfigError(f"'{section}' has been given the value {_shown(place)} already", field=key)
        place[name] = value
    return tree


def _check_file(path: Path | None) -> None:
    if path is None:
        return
    try:
        content = yaml.safe_load(path.read_text(encoding=_ENCODING))
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", field=str(path)) from error
    except _NOT_YAML as error:
        said = " ".join(str(error).split())[:_MAX_SAID]
        raise ConfigError(f"is not YAML: {said}", field=str(path)) from error
    if not isinstance(content, dict | None):
        raise ConfigError(f"is {type(content).__name__}, not a mapping of sections", field=str(path))


def _check_environment() -> None:
    """A mistyped variable must not be passed over in silence."""
    for name in os.environ:
        section = name.removeprefix(ENV_PREFIX).partition("__")[0].lower()
        if name.startswith(ENV_PREFIX) and name != CONFIG_VARIABLE and section not in Settings.model_fields:
            raise ConfigError(f"no such section; there are {', '.join(Settings.model_fields)}", field=name)
