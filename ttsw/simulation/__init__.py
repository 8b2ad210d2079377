"""A simulated device, with models that take the time and memory that a profile says.

Admission, residency, eviction and `ttsw bench` run on it unchanged, without a GPU: `ttsw serve --simulate PROFILE`.
"""
