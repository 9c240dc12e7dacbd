"""Seeds, random generators, memory and streams of a device."""
