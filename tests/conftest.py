"""What all tests share: how Hypothesis searches."""

from hypothesis import HealthCheck, settings

# Machines that run tests are busy: an example that takes long is no failure, only a slow one.
settings.register_profile(
    "default_for_tests", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("default_for_tests")
