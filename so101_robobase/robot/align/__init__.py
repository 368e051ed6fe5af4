"""How one arm and its camera differ from the model: `robot align`."""
