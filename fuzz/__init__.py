"""Fuzz targets for what strangers send: frames and handshakes. Each target's first comment is its invariant.

``make fuzz`` runs all of them at once for a minute, guided by coverage (atheris) where that is installed, and otherwise
by chance; ``python -m fuzz --help`` has the options. ``corpus`` holds the inputs that tests and campaigns start from.
"""
