"""Run a plan: submit ready stages, commit results, retry failures, share the store with other drivers."""
