"""`ttsw say`: speak a text through a worker, a fleet, or a model in this process."""
