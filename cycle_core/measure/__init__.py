"""How alike two pictures are, for losses and for reports."""
