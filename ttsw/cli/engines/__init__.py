"""`ttsw engines`: install, check and remove the environments of engine families."""
