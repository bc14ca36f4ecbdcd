"""What bench_polling.py measures, and with what: nodes full of domains, programs that poll them, peers, CPU clocks."""
