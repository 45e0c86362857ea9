"""Settlement: the bill is the amount, metering is the key."""
