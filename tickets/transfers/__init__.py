"""Start a network from a ticket: transfers as data, and the sources that their parts may name."""
