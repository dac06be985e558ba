"""The networks, which know nothing of files: generators, encoders, and what they are made of."""
