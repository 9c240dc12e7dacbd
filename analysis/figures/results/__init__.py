"""Figures of accuracies and barriers."""
