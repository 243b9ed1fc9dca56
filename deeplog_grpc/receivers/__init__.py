"""What shippers speak, received as it is: OTLP over gRPC and HTTP, Vector's protocol, the Forward protocol.

Each receiver turns the bytes of its protocol into :class:`~deeplog_grpc.ingest.records.Records` and hands them to the
server's intake; what the intake says is answered as that protocol's clients expect it.
"""
