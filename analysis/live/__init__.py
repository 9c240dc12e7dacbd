"""The live page of a store, and its server's answers."""
