"""A policy on an arm: what it sees, the episodes, `robot rollout`."""
