"""The sesame family: Sesame's CSM, which continues a conversation, with LoRA voices on a shared base model.

`adapter` is the entry point. `text` and `context` build the prompt, `frames` and `depth` generate codebook frames,
batched over utterances, and `codec` decodes them; `engine` combines these. `loras` holds the voices on a base model.
`files`, `checkpoint` and `lora_files` read files. Importing this package imports nothing else.
"""
