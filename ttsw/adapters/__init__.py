"""Engine families: the `TTSAdapter` contract, the hosts that run engines, and the adapters shipped with ttsw.

Adapters don't know each other, nor frames, pacing, pause or loudness: all of that is done once, above every engine.
"""
