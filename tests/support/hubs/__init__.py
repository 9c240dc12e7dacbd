"""A model hub on loopback, and commands that may reach nothing else."""
