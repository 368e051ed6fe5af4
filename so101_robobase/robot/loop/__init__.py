"""The control loop: arm, ticks, clock, events."""
