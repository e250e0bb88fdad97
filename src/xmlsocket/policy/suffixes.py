"""Names under which everybody can register names of their own.

Not the public suffix list, which is long and changes weekly: a rule of thumb for a warning. It knows
top-level domains, the usual second levels below country codes, and some large hosting services.
"""

from __future__ import annotations

_SECOND_LEVELS = frozenset(
    [
        "ac",
        "asso",
        "co",
        "com",
        "edu",
        "firm",
        "gen",
        "go",
        "gob",
        "gouv",
        "gov",
        "id",
        "ind",
        "info",
        "ltd",
        "me",
        "mil",
        "ne",
        "net",
        "nhs",
        "nic",
        "nom",
        "or",
        "org",
        "plc",
        "police",
        "pro",
        "sch",
        "school",
        "tm",
        "web",
    ]
)
_HOSTING = frozenset(
    [
        "000webhostapp.com",
        "altervista.org",
        "amazonaws.com",
        "angelfire.com",
        "appspot.com",
        "azurewebsites.net",
        "blogspot.com",
        "cloudapp.net",
        "cloudfront.net",
        "duckdns.org",
        "dyndns.org",
        "fly.dev",
        "geocities.com",
        "github.io",
        "gitlab.io",
        "glitch.me",
        "herokuapp.com",
        "itch.io",
        "neocities.org",
        "netlify.app",
        "ngrok.io",
        "no-ip.org",
        "onrender.com",
        "pages.dev",
        "repl.co",
        "s3.amazonaws.com",
        "surge.sh",
        "trycloudflare.com",
        "tripod.com",
        "vercel.app",
        "web.app",
        "weebly.com",
        "wixsite.com",
        "wordpress.com",
        "workers.dev",
    ]
)


def is_public_suffix(name: str) -> bool:
    """Tell whether names directly below this one belong to different owners, as far as is known here."""
    labels = name.removesuffix(".").split(".")
    if len(labels) == 1:
        return True
    if len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _SECOND_LEVELS:
        return True
    return ".".join(labels) in _HOSTING
