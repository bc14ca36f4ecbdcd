"""What is sent on a schedule: statistics of domains and host, heartbeats."""
