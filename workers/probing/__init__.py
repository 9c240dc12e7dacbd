"""Measure error along paths and planes between solutions."""
