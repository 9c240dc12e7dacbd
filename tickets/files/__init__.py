"""Read and write files without torch: digests, files that appear whole, a ticket's columns."""
