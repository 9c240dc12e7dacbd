"""Runs stages on a Ray cluster. Only this package and the search import Ray."""
