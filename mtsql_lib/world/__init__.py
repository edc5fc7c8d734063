"""The generated world: databases, dialogues on them and the language in which they are asked."""
