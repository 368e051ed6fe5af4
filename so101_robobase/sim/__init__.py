"""What is simulated: the scene, the task on a batch of simulations, and its pictures."""
