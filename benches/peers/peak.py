"""Runs a command and writes the peak memory of its largest process, in KiB, to the file descriptor given first.

A process of its own because Linux counts the memory that the caller held at the fork into the peak of the child: this one
holds some 10 MiB, the runner with its libraries some 170.
"""

import os
import sys

child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
os.write(int(sys.argv[1]), str(usage.ru_maxrss).encode())
sys.exit(os.waitstatus_to_exitcode(status) & 255)
