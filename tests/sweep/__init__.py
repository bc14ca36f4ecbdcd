"""Every function that is served, called at least once over a real broker on a real driver of libvirt."""
