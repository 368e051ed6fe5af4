"""How one arm's servos move, against the model's: `robot identify`, `robot replay`."""
