"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# How fast a shared machine draws and computes at the moment says nothing about the code.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# A change is judged on the same cases everywhere; `make search` draws new ones.
settings.register_profile("same", _patient, derandomize=True, database=None)
settings.register_profile("search", _patient)
settings.load_profile(os.environ.get("COSTMETER_HYPOTHESIS", "same"))
