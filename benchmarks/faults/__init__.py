"""Inject faults into small real sweeps at seeded moments and compare the results bit for bit."""
