"""`ttsw serve`: start a worker."""
