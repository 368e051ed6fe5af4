"""Many runs at once: which there are, how they compare, one report of them, what can go."""
