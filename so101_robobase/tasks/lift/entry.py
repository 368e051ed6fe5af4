"""The lift."""

from so101_robobase.tasks.entry import TaskEntry
from so101_robobase.tasks.lift.config import LiftConfig
from so101_robobase.tasks.lift.task import LiftTask
from so101_robobase.tasks.lift.teacher import LiftTeacher

ENTRY = TaskEntry(LiftConfig, LiftTask, LiftTeacher)
