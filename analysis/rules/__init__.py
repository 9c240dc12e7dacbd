"""The method's rules, one question each, asked of a store's files and records; ``analysis.checks`` asks them all."""
