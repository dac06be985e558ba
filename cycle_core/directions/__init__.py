"""Directions: what to add to a code so that its picture changes in one respect."""
