"""The XTTS-v2 family: a voice cloned from a recording, in 17 languages, on Coqui's library.

`adapter` is what a worker loads. An utterance goes from `text` through `gpt`, whose steps `batch` makes for many
utterances together, to `vocoder`; its voice comes from `reference` and `conditioning`. Nothing is imported here.
"""
