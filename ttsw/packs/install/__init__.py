"""Installing a voice pack from a folder, a Piper voice, or a fine-tuned CSM."""
