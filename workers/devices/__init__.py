"""Seeds, random generators, precision, memory and streams of a device."""
