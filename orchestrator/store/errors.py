"""The error of a store that cannot be used."""


class StoreError(ValueError):
    """A store that cannot be used; the message says what to do."""
