"""What happens in a training as registered functions: one file per kind, each with its registry."""
