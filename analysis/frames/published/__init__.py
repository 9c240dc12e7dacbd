"""Published results, and the settings by which ours are compared with them."""
