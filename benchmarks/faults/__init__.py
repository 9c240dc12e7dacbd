"""Small real sweeps with faults injected at random but seeded moments, and a judge that compares them to the bit."""
