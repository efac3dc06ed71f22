"""Fakes for tests of this package and of code that uses it."""

from servable_core.testing.fake_clock import FakeClock as FakeClock
from servable_core.testing.fake_file_system import FakeFileSystem as FakeFileSystem
from servable_core.testing.fake_loader import FakeLoader as FakeLoader
from servable_core.testing.fake_loader import FakeServable as FakeServable
from servable_core.testing.recording_target import RecordingTarget as RecordingTarget
