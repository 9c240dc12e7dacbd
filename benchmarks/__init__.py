"""Measure speed and size, one command each; RESULTS.md holds the results."""
