"""Match a ticket with a network, and initialise networks as their classes do."""
