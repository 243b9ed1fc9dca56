"""What goes back out: anomalies as log records and alerts, and scored records."""
