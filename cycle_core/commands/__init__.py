"""The commands of `cycle-core`: each module adds its own to the parser. See `cycle_core.cli`."""
