"""Runs finished stages of a store again in a scratch folder, and compares all bits with what the store holds."""
