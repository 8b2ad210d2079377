"""The XTTS-v2 family: voices cloned from a recording, in 17 languages, on Coqui's library.

`adapter` is the entry point. `text` prepares the input, `gpt` generates audio tokens and latents, batched over
utterances, and `vocoder` turns these into audio; `reference_voice` computes the voice. Importing this package imports
nothing else.
"""
