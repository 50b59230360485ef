"""The language-model policy: any causal language model of `transformers`, with a LoRA adapter that learns.

`chat_format` turns conversations into tokens, `grammar` and `offers` say what may be written next, `sampler` writes it for many
conversations at once, `network` gives the same tokens their log-probabilities again, and `causal_lm` is the policy made of these.
Importing `causal_lm` imports `transformers`, which takes seconds; `config` does not.
"""
