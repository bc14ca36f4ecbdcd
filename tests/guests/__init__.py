"""Guests without an operating system: what they do by themselves, and what stands in for their surroundings."""
