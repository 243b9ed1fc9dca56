"""Messages of foreign protocols, generated from ``proto/deeplog_grpc/foreign`` by ``make proto``; never edited."""
