"""Run one stage once: fetch inputs, execute, upload artifacts, report the outcome."""
