"""What a store gives to others: a crate for archives, tickets for a zoo."""
