"""Runs one sweep around the driver: lease, data, backend, signals, report."""
