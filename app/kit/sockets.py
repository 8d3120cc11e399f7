"""How much of a connection is read in one turn of the event loop."""

import socket
from typing import Final

SMALL_RECEIVE_BUFFER: Final = (socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
"""An option of connections from which files are read.

A server that sends faster than we read fills what the kernel keeps for the connection, several megabytes,
and uvloop reads all of it at once: eight such files took 50 MB of memory, and turns of the loop of many
milliseconds. The kernel takes twice the number, which is 25 MB a second at a distance of 20 ms.
"""
