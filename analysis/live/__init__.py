"""The page of a store that changes, and how it is served."""
