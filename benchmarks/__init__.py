"""How fast, how small and how late: xmlsocket beside its peers, on one machine, in one run.

Knows: the scenarios, the servers under test, what must be reached, and how all of it is written down.
Does not know: anything of xmlsocket but its public interface and its command.
May import: standard library; the servers under test run as processes of their own. Start reading at ``run.py``.
"""
