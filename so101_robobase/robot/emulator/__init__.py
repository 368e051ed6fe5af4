"""An emulated SO-101: a process on a pseudo-terminal that answers as six Feetech servos do.

The servos move a simulated arm in real time, so that LeRobot's own driver and tools can connect to
it as to a serial port. `client.EmulatedBus` starts one. Nothing here needs LeRobot.

What is known of the servos is what Feetech's memory table and LeRobot's driver say. Chosen without
a servo at hand, and to be confirmed on one:

- torque on sets the goal to the present position; a goal written without torque is only stored;
- a servo that complains still executes what it is told, and gives way only for the complaints that
  its register Unloading_Condition names; when they end it goes on to its goal;
- positions wrap around at 4096 after the homing offset has been taken off;
- in a sync read, the answers after a missing one still come;
- after power returns, Lock is 1 and torque off.

Stored but without effect on the motion: gains, goal velocity and acceleration, torque and current
limits, dead zones, operating modes other than position. Overload by itself does not occur, only as
a fault, since LeRobot's limit for the gripper would be tripped by the model's stiffer grasp.
"""
