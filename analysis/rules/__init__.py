"""The method's rules, each checked on a store's files and records; ``analysis.checks`` runs them all."""
