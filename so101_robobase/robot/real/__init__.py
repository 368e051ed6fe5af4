"""The arm on a serial port: LeRobot's driver, its bus, calibration, camera, and `robot check`."""
