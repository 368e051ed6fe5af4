"""Rollouts on the arm: drivers, safety, the loop, and a simulated and an emulated arm to try it on.

Everything above a `driver.Driver` is the same for the real arm, the simulated and the emulated one.
"""
