"""One emulated arm for all tests that need one: it takes seconds to start."""

from collections.abc import Iterator

import pytest

from so101_robobase.robot.emulator.client import EmulatedBus
from so101_robobase.robot.emulator.emulator_config import EmulatorConfig


@pytest.fixture(scope="session")
def emulated_bus() -> Iterator[EmulatedBus]:
    with EmulatedBus(EmulatorConfig()) as bus:
        yield bus


@pytest.fixture
def bus(emulated_bus: EmulatedBus) -> Iterator[EmulatedBus]:
    """Without faults, the arm as an episode begins; torque is as the test before left it."""
    emulated_bus.clear()
    emulated_bus.begin(0)
    yield emulated_bus
    emulated_bus.clear()
