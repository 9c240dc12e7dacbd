"""Compare methods and transfers: measures, statistics, and the sentences that state the result."""
