"""The ways to learn, behind one seam: `run.run_method`. Flow-GRPO is one of them; what the others need stands here."""
