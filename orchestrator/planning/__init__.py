"""Plan experiments: expand them to a graph of stages with content keys. Pure."""
