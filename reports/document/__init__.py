"""What a compliance report says, from facts alone. Pure."""
