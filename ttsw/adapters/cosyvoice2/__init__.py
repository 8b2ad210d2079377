"""The CosyVoice 2 family: voices cloned from a recording, in four languages, with instructions, on CosyVoice's library.

`adapter` is the entry point. `text` and `prompts` build the input, `language_model` generates speech tokens, `flow`
(with `encoder` and `estimator`) turns them into mel frames, and `vocoder` into audio; `reference_voice` computes the
voice. Steps of `language_model` and `flow` are batched over utterances. Importing this package imports nothing else.
"""
