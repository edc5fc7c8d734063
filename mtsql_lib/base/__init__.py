"""The base model's school: the scripted agent, what is practised on, and the pre-training."""
