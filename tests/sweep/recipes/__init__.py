"""What to call on what: one module for a class of objects, or for a state that a guest has to be in."""

from sweep.recipes import (
    connect,
    domain_agent,
    domain_disks,
    domain_jobs,
    domain_life,
    domain_tune,
    interface,
    network,
    node_device,
    nwfilter,
    secret,
    snapshots,
    storage,
    streams,
)
from sweep.sweep import Recipe

RECIPES: tuple[Recipe, ...] = (
    *connect.RECIPES,
    *domain_agent.RECIPES,
    *domain_disks.RECIPES,
    *domain_jobs.RECIPES,
    *domain_life.RECIPES,
    *domain_tune.RECIPES,
    *interface.RECIPES,
    *network.RECIPES,
    *node_device.RECIPES,
    *nwfilter.RECIPES,
    *secret.RECIPES,
    *snapshots.RECIPES,
    *storage.RECIPES,
    *streams.RECIPES,
)
"""Each sets up what it needs and takes a sweep and the hosts; they are followed side by side."""
