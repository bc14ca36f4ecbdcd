"""How scripts/extract_catalogue.py makes libvirt_amqp/api.json."""
