"""The agent: one process beside libvirt on every host, between libvirt and an AMQP broker."""
