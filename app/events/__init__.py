"""Events: the catalogue of ids, and the stream from libvirt's callback to the bus."""
