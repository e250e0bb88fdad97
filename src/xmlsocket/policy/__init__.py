"""What socket policy files say, in which order players ask for them, and what is wrong with them.

Knows: the file format, matching, the rules of every player version, the search, the linter.
Does not know: sockets, clocks, tasks, logging; who wants to know tells it what came back, and the time.
May import: errors, limits. Start reading at ``search.py``, or for the file itself at ``model.py``.
"""

from __future__ import annotations

from .answers import MASTER_PORT, Ask, Ending, Fetched, Location, Outcome, Reply
from .cache import PolicyCache
from .decision import Decision, Rule, Step
from .findings import RULES, Finding, LintContext, ProbeFacts, Severity, find_worst
from .linting import grants_differ, lint, lint_policy
from .matching import DomainPattern, Host, PatternKind, format_host, parse_domain, parse_host, parse_ports
from .model import Attribute, Element, Grant, MetaPolicy, Policy, Position
from .parsing import parse_policy
from .players import CURRENT_PLAYER, parse_player
from .quoting import make_printable, quote
from .rehearsal import KnownAnswer, rehearse
from .requester import AllowNetworking, Requester, Sandbox
from .search import PolicySearch, choose_host
from .vectors import VectorResult, run_vector

__all__ = [
    "CURRENT_PLAYER",
    "MASTER_PORT",
    "RULES",
    "AllowNetworking",
    "Ask",
    "Attribute",
    "Decision",
    "DomainPattern",
    "Element",
    "Ending",
    "Fetched",
    "Finding",
    "Grant",
    "Host",
    "KnownAnswer",
    "LintContext",
    "Location",
    "MetaPolicy",
    "Outcome",
    "PatternKind",
    "Policy",
    "PolicyCache",
    "PolicySearch",
    "Position",
    "ProbeFacts",
    "Reply",
    "Requester",
    "Rule",
    "Sandbox",
    "Severity",
    "Step",
    "VectorResult",
    "choose_host",
    "find_worst",
    "format_host",
    "grants_differ",
    "lint",
    "lint_policy",
    "make_printable",
    "parse_domain",
    "parse_host",
    "parse_player",
    "parse_policy",
    "parse_ports",
    "quote",
    "rehearse",
    "run_vector",
]
