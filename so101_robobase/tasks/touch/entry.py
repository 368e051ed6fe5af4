"""The touch task."""

from so101_robobase.tasks.entry import TaskEntry
from so101_robobase.tasks.touch.config import TouchConfig
from so101_robobase.tasks.touch.task import TouchTask
from so101_robobase.tasks.touch.teacher import TouchTeacher

ENTRY = TaskEntry(TouchConfig, TouchTask, TouchTeacher)
