"""What one uses beside training: a look at the machine."""
