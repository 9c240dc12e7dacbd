"""One file per built-in data set."""
