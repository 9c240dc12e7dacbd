"""Read a store into tidy pandas frames."""
