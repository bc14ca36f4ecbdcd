"""What Prometheus reads: the agent's own health and what was published last, over HTTP.

No port is open, and prometheus_client is not imported, unless METRICS_LISTEN is set.
"""
