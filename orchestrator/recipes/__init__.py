"""Recipes: hyper-parameters for a data set and architecture; and the experiments that use them."""
