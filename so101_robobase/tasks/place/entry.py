"""The place task."""

from so101_robobase.tasks.entry import TaskEntry
from so101_robobase.tasks.place.config import PlaceConfig
from so101_robobase.tasks.place.task import PlaceTask
from so101_robobase.tasks.place.teacher import PlaceTeacher

ENTRY = TaskEntry(PlaceConfig, PlaceTask, PlaceTeacher)
