"""Run one stage once: fetch inputs, compute, write artifacts, return the outcome."""
