"""Zoos: folders and repositories of published tickets, found by name and checked against their digests."""
