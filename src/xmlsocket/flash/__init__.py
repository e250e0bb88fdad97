"""Adobe's classes under Adobe's names, with the same events, texts and errors.

Knows: ActionScript's events, errors, values and sockets, and which content may connect where.
Does not know: rooms, gateways, the command line.
May import: errors, limits, wire, policy, net. Start reading at ``net.py``, then ``dispatcher.py``.
"""

from __future__ import annotations
