"""Calls: the dispatcher, and one room per object class for how it is found and what is special about it."""
