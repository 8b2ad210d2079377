"""The CosyVoice 2 family: a voice cloned from a recording, in four languages, as told, on CosyVoice's library.

`adapter` is what a worker loads. An utterance goes from `text`, with what `prompts` shows the model, through `speech`
(tokens) and `flow` (frames, by `encoder` and `estimator`), whose steps are made for many utterances together, to
`vocoder`; its voice comes from `voices`. Nothing is imported here.
"""
