"""Speed and size, one command each; RESULTS.md keeps what was seen."""
