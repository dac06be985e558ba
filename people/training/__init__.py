"""Trains the networks that only the embedded models have, on renders of people."""
