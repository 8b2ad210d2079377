"""A device that isn't there, with models that take the time and the memory that a profile says.

The whole of admission, residency, eviction and `ttsw bench` runs on it, without a GPU: `ttsw serve --simulate PROFILE`.
"""
