"""Pictures in and out of the library, and what changes their size."""
