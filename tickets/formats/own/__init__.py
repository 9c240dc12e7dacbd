"""The formats that this project defines."""
