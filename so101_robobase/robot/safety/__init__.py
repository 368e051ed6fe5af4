"""What may reach the servos and when work stops: limits, filter, watch."""
