"""`ttsw bench`: measure a device and write its profile."""
