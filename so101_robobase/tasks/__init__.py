"""What is to be done, and when it is done."""
