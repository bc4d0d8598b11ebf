"""What holds for all tests: no example of a property is wrong for being slow, on a machine that does other things."""

from hypothesis import settings

# What is in force already (on continuous integration: the same examples every time), without a deadline.
settings.register_profile("penstock", settings(), deadline=None)
settings.load_profile("penstock")
