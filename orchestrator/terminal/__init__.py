"""Parse command lines and print plans, progress and errors."""
