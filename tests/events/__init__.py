"""Every event of libvirt, provoked on a real driver and seen by a subscriber."""
