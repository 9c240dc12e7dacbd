"""Score weights and draw the masks of a round."""
