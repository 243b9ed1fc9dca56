"""The shipper: follows log files, reads standard input or takes the Forward protocol, spools, and streams.

Lines become payloads of the spool in the same transaction as the places up to which files are read
(:mod:`~deeplog_grpc.shipping.filling`); payloads are sent under their sequence until they are answered
(:mod:`~deeplog_grpc.shipping.sender`); answers are written onward in step with their acknowledgement
(:mod:`~deeplog_grpc.shipping.settling`). So a kill at any moment loses nothing and counts nothing twice.
"""

from deeplog_grpc.shipping.config import ShipConfig
from deeplog_grpc.shipping.shipper import Shipper, ship

__all__ = ["ShipConfig", "Shipper", "ship"]
