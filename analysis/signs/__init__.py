"""What tickets hold, compared: read as bits, each pair once, and kept in the user's cache."""
