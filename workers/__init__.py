"""Everything that computes: data, networks, pruning, training and probing. A stage runs here as a plain function."""
