"""Hypothesis without a clock: a slow machine is no finding. Under CI it draws the same each time."""

from hypothesis import settings

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")
