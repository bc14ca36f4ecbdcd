"""What to call on what: one module for a class of objects or a state that a guest has to be in."""
