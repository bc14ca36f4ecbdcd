"""A real libvirtd with QEMU guests.  A package, so that its conftest and the one above keep different names."""
