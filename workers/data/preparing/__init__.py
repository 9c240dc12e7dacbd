"""Prepare data sets once per host, in a cache."""
