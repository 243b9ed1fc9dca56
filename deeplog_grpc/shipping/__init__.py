"""The shipper: reads log files, standard input or Forward, spools to disk, and streams to a server."""
