"""Search for a recipe: its space and definition (pure), one trial, and Ray Tune over all trials."""
