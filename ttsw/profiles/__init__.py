"""Profiles: what one device can do with which models, as `ttsw bench` measured it, or as is estimated from its size."""
