"""Sessions: who may speak, what each session is doing, and how its text becomes frames in time.

`state`, `pacing` and `admission` decide; `utterance` and `session` act; `table` owns the sessions.
"""
