"""Decode a data set once per host and cache the result."""
