"""More conversations out of those there are: augmented for training, moved to another business, and measured."""
