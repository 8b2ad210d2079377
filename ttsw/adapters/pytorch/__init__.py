"""What the families on torch share: steps for many utterances at once, files read safely, voices kept."""
