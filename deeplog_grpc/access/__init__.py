"""Who may reach the server, and what for: certificates, tokens, roles, and the applications that a token is for.

Nothing here knows a connection. :mod:`deeplog_grpc.serving.guard` asks for gRPC, :mod:`deeplog_grpc.serving.http_guard`
for the HTTP listeners.
"""
