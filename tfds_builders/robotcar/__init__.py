"""Oxford Radar RobotCar and Oxford RobotCar."""
