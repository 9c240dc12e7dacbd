"""Train one network on several devices: ranks, all-reduce, synchronised batch norm, shards."""
