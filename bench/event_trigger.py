"""A process that makes libvirt announce something: it suspends and resumes a domain of the test driver.

event_trigger.py URI

A line `COUNT PAUSE` on standard input causes COUNT events, PAUSE seconds apart; the moments of the calls go to standard
output, in nanoseconds of the monotonic clock.
"""

import json
import sys
import time

import libvirt


def cause(domain: libvirt.virDomain, count: int, pause: float) -> list[int]:
    """Cause events; returns when each was asked for."""
    triggered = []
    for number in range(count):
        triggered.append(time.monotonic_ns())
        if number % 2:
            domain.resume()
        else:
            domain.suspend()
        if pause:
            time.sleep(pause)
    return triggered


if __name__ == "__main__":
    domain = libvirt.open(sys.argv[1]).lookupByName("test")
    print("ready", flush=True)
    for line in sys.stdin:
        count, pause = line.split()
        print(json.dumps(cause(domain, int(count), float(pause))), flush=True)
