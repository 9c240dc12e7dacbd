"""Everything that computes: data, networks, pruning, training and probing. A stage runs here as a plain function."""

from winning_sign import check

check("workers", needs=("tickets",))
