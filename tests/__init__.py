"""The tests. No property of Hypothesis's depends on how fast the machine is: CI runs several things at once."""

from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
