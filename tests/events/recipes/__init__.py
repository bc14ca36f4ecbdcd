"""What provokes events: by whose hand or in whose name."""

from events.recipes import acts, disks, domains, host, life

RECIPES = (*acts.RECIPES, *disks.RECIPES, *domains.RECIPES, *host.RECIPES, *life.RECIPES)
"""Each sets up what it needs and takes a run and the hosts; they are followed side by side."""
