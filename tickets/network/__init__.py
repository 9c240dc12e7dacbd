"""Networks: match their parameters with a ticket's, initialise them, and keep their pruned weights at zero."""
