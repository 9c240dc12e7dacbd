"""Translations of names between networks that compute the same: the authors', a user's, and ours."""

from tickets.formats.names.name_map import NameMap
from tickets.formats.names.reading import BUILT_IN, built_in, read_map

__all__ = ["BUILT_IN", "NameMap", "built_in", "read_map"]
