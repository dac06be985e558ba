"""Training: of encoders through the cycle W -> W+ -> W, of generators, of all that is embedded."""
