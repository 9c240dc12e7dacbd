"""Compare tickets: read them as bits, compare each pair once, and cache the counts."""
