"""Fingerprints: what identifies a data set's content, how files are read for it, and what is remembered of them."""
