"""The machine: what its devices can do, several processes, models that are shared."""
