"""The section ``outputs``: where anomalies and scored records go."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic.dataclasses import dataclass

from deeplog_grpc.detection.verdicts import Kind

CONFIG = ConfigDict(extra="forbid", use_attribute_docstrings=True)

KindName = Literal[
    "unseen_key",
    "execution_path",
    "incomplete_session",
    "session_counts",
    "session_length",
    "unseen_transition",
    "parameter_value",
    "elapsed_time",
    "new_value",
]


def _checked(pattern: str, remedy: str) -> AfterValidator:
    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(remedy)
        return value

    return AfterValidator(check)


Name = Annotated[
    str, _checked(r"[a-z0-9][a-z0-9_-]{0,62}", "the name of an output has lower case letters, digits, '-' and '_' only")
]
Url = Annotated[
    str,
    _checked(r"https?://[^\s/@?#]+(/\S*)?", "must be http://HOST:PORT or https://HOST:PORT, without user and password"),
]
"""A password in it would be in every message about it."""
Address = Annotated[str, _checked(r"\S+:\d{1,5}", "must be HOST:PORT")]


@cache
def kind_name(kind: int) -> str:
    """The name of a kind, as in the contract without ``KIND_``.

    Examples
    --------
    >>> kind_name(2)
    'unseen_key'
    """
    return Kind(kind).name.lower()


def secret(value: SecretStr | None, file: Path | None) -> str:
    """A secret that is given, or stands in a file now; empty = neither."""
    if file is not None:
        return file.read_text().strip()
    return "" if value is None else value.get_secret_value()


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Output:
    """What all outputs have in common."""

    applications: tuple[str, ...] = ("*",)
    """Only these applications; `*`, `?` and `[...]` as in file names."""

    kinds: tuple[KindName, ...] = ()
    """Only these kinds of anomalies. Empty = all."""

    min_score: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Only anomalies of at least this score."""

    start: Literal["now", "beginning"] = "now"
    """Where an output begins that is new: with what comes from now on, or with all that is stored."""

    timeout_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """Seconds that one try may take."""

    retry_min_s: Annotated[float, Field(gt=0, le=3_600)] = 1.0
    """Seconds before the second try; twice as long before each further one, and a random part of it."""

    retry_max_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    """Seconds between two tries at most. What the other side asks for is kept to beyond it, up to an hour."""

    dead_letters: Path | None = None
    """File for what the other side refuses for ever, one JSON object a line. null = `dead-letters/NAME.jsonl` in the
    state folder."""

    dead_letters_mb: Annotated[int, Field(ge=1, le=1_024)] = 16
    """Mebibytes of that file; past it the older half goes."""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class RecordOutput(Output):
    """What outputs of log records have in common."""

    what: Literal["anomalies", "records"] = "anomalies"
    """`anomalies`: one record for each anomaly. `records`: every record that a pipeline sent, with what was said of it
    added."""

    only: Literal["all", "anomalies"] = "all"
    """Of `what: records`: all of them, or those that are abnormal."""

    queue_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Of `what: records`: mebibytes on disk that wait. Anomalies wait where they are stored (`state.max_mb`)."""

    when_full: Literal["block", "drop"] = "block"
    """Of `what: records`: when that is full, refuse what comes in, so that its sender tries again; or go without
    sending on, and count it."""

    batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Records sent at once at most."""

    max_per_s: Annotated[float, Field(gt=0)] | None = None
    """Records a second at most; null = no limit. What is over it waits."""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class OtlpOutput(RecordOutput):
    """OTLP over gRPC, to a collector or any other that takes ``LogsService/Export``."""

    type: Literal["otlp"]
    """`otlp`."""

    endpoint: Url
    """`http://HOST:PORT`, or `https://HOST:PORT` for TLS."""

    gzip: bool = True
    """Whether requests are compressed."""

    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """gRPC metadata of each request, such as `authorization`; never shown."""

    ca_file: Path | None = None
    """Certificates that the server's must be signed by; null = those of the system."""

    cert_file: Path | None = None
    """The client's own certificate, for mutual TLS."""

    key_file: Path | None = None
    """Its key."""

    @model_validator(mode="after")
    def _check(self) -> "OtlpOutput":
        _check_pair(self.cert_file, self.key_file)
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class ForwardOutput(RecordOutput):
    """The Forward protocol, to Fluent Bit or Fluentd, with acknowledgements."""

    type: Literal["forward"]
    """`forward`."""

    address: Address
    """`HOST:PORT`."""

    tag: Annotated[str, Field(min_length=1)] = "deeplog"
    """Tag of records that have none of their own."""

    shared_key: SecretStr | None = None
    """Key of the handshake; null = there is none."""

    shared_key_file: Path | None = None
    """File that the key is read from instead."""

    hostname: Annotated[str, Field(min_length=1)] = "deeplog-grpc"
    """This side's name in the handshake."""

    tls: bool = False
    """Whether the connection is encrypted."""

    ca_file: Path | None = None
    """Certificates that the server's must be signed by; null = those of the system."""

    cert_file: Path | None = None
    """The client's own certificate, for mutual TLS."""

    key_file: Path | None = None
    """Its key."""

    @model_validator(mode="after")
    def _check(self) -> "ForwardOutput":
        _check_pair(self.cert_file, self.key_file)
        _check_one("shared_key", self.shared_key, self.shared_key_file)
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class FileOutput(RecordOutput):
    """JSON lines in a file or on standard output."""

    type: Literal["file"]
    """`file`."""

    path: str
    """The file, opened anew when another program has moved it away; `-` = standard output."""

    sync: bool = True
    """Whether a batch has to be on the disk before it counts as written."""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class AlertOutput(Output):
    """What outputs of alerts have in common: one alert for each group of alike anomalies."""

    repeat_s: Annotated[float, Field(gt=0)] = 3_600.0
    """Seconds between two notifications of a group that goes on."""

    resolve_s: Annotated[float, Field(gt=0)] = 900.0
    """Seconds without an anomaly of the group after which its alert is resolved."""

    max_per_minute: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Notifications a minute, resolved ones apart. Groups beyond it are told of in one alert, "and N more groups"."""

    headers: dict[str, SecretStr] = Field(default_factory=dict)
    """Headers of each request; never shown."""

    token: SecretStr | None = None
    """Sent as `Authorization: Bearer`; null = none."""

    token_file: Path | None = None
    """File that the token is read from instead, for each request."""

    ca_file: Path | None = None
    """Certificates that the server's must be signed by; null = those of the system."""

    cert_file: Path | None = None
    """The client's own certificate, for mutual TLS."""

    key_file: Path | None = None
    """Its key."""

    @model_validator(mode="after")
    def _check(self) -> "AlertOutput":
        _check_pair(self.cert_file, self.key_file)
        _check_one("token", self.token, self.token_file)
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class AlertmanagerOutput(AlertOutput):
    """Prometheus Alertmanager, API v2."""

    type: Literal["alertmanager"]
    """`alertmanager`."""

    url: Url
    """Its address, such as `http://alertmanager:9093`; `/api/v2/alerts` is added."""

    resend_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds after which an alert that goes on is sent again: after four times as long without, Alertmanager takes it
    for resolved."""

    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of every alert, such as `severity: warning`."""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class SlackOutput(AlertOutput):
    """A Slack incoming webhook, or one that takes the same."""

    type: Literal["slack"]
    """`slack`."""

    url: SecretStr | None = None
    """Address of the webhook; whoever has it may post, so it is never shown."""

    url_file: Path | None = None
    """File that the address is read from instead."""

    @model_validator(mode="after")
    def _check_url(self) -> "SlackOutput":
        _check_one("url", self.url, self.url_file)
        if self.url is None and self.url_file is None:
            raise ValueError("url or url_file must be given")
        return self


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class WebhookOutput(AlertOutput):
    """Any HTTP server that takes JSON."""

    type: Literal["webhook"]
    """`webhook`."""

    url: Url
    """Where to."""

    method: Literal["POST", "PUT"] = "POST"
    """How."""

    template: str = "{{ alert | tojson }}"
    """The body, a Jinja2 template that makes JSON. `alert` has `output`, `status` (`firing`, `reminder`, `resolved`),
    `application`, `kind`, `group_id`, `key`, `template`, `reason`, `diagnosis`, `session`, `verdict_id`, `score`,
    `count`, `new_count`, `starts_at`, `last_at`, `summary`; write values with `tojson`."""

    @field_validator("template")
    @classmethod
    def _is_template(cls, template: str) -> str:
        # Here, for most that read the configuration have no template.
        from jinja2 import TemplateSyntaxError
        from jinja2.sandbox import SandboxedEnvironment

        try:
            SandboxedEnvironment().parse(template)
        except TemplateSyntaxError as error:
            raise ValueError(f"not a template, line {error.lineno}: {error.message}") from error
        return template


AnyOutput = Annotated[
    OtlpOutput | ForwardOutput | FileOutput | AlertmanagerOutput | SlackOutput | WebhookOutput,
    Field(discriminator="type"),
]
OutputsConfig = dict[Name, AnyOutput]
"""Outputs by their names."""

OUTPUT_TYPES: dict[str, type[Output]] = {
    "otlp": OtlpOutput,
    "forward": ForwardOutput,
    "file": FileOutput,
    "alertmanager": AlertmanagerOutput,
    "slack": SlackOutput,
    "webhook": WebhookOutput,
}


def _check_pair(cert_file: Path | None, key_file: Path | None) -> None:
    if (cert_file is None) != (key_file is None):
        raise ValueError("cert_file and key_file belong together: give both or none")


def _check_one(name: str, value: SecretStr | None, file: Path | None) -> None:
    if value is not None and file is not None:
        raise ValueError(f"{name} and {name}_file are both given: leave one out")
