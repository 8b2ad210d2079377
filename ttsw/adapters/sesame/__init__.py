"""The sesame family: Sesame's CSM, a voice that goes on as a conversation went, with LoRA voices over one model.

`adapter` is what a worker loads. A text goes from `text`, with the `turns` before it, through `frames` and `depth`,
which make audio's codes for many utterances together, to `codec`, which makes audio of them; `engine` is all of these.
`loras` holds the voices that share a model. `files`, `checkpoint` and `lora_files` read what is on disk. Nothing is
imported here.
"""
