"""Touch the cube's top with the closed fingers."""
