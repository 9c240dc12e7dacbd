"""Run stages on a Ray cluster. Ray is imported nowhere else but in the search."""
