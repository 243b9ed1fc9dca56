"""The public contract: messages and stubs generated from ``proto/deeplog_grpc/v1`` by ``make proto``; never edited."""
