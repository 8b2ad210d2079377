"""The XTTS-v2 family: a voice cloned from a recording, in 17 languages, on Coqui's library. Imports nothing of it."""
