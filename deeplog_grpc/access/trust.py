"""The client's side of TLS, from files."""

import ssl
from pathlib import Path

import grpc

from deeplog_grpc.errors import ConfigError


def ssl_context(ca_file: Path | None, cert_file: Path | None, key_file: Path | None, *, field: str) -> ssl.SSLContext:
    """For HTTP and plain connections.

    Parameters
    ----------
    ca_file : Path, optional
        Authorities that are trusted; None = those of the system.
    cert_file, key_file : Path, optional
        What is shown to servers that ask for it.
    field : str
        Where the configuration has the files.

    Raises
    ------
    ConfigError
        If a file cannot be read, or holds no certificate or key.
    """
    try:
        context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
        if cert_file is not None:
            context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(str(file) for file in (ca_file, cert_file, key_file) if file is not None)
        raise ConfigError(f"no certificates can be read ({error.strerror or error}): {names}", field=field) from error
    return context


def grpc_credentials(
    ca_file: Path | None, cert_file: Path | None, key_file: Path | None, *, field: str
) -> grpc.ChannelCredentials:
    """For gRPC; see :func:`ssl_context`."""
    ssl_context(
        ca_file, cert_file, key_file, field=field
    )  # gRPC itself would only say that the server cannot be reached
    return grpc.ssl_channel_credentials(
        root_certificates=None if ca_file is None else ca_file.read_bytes(),
        private_key=None if key_file is None else key_file.read_bytes(),
        certificate_chain=None if cert_file is None else cert_file.read_bytes(),
    )
