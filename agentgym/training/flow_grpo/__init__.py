"""Flow-GRPO (Li et al. 2025, arXiv:2510.05592) on RLlib's new API stack.

`advantages`, `rollouts`, `batch`, `loss` and `weights` are plain numpy and torch; `algorithm` and what it imports need Ray.
"""
