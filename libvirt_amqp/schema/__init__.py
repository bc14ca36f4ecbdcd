"""The contract for machines, made from the catalogue and libvirt's descriptions when somebody asks for it."""
