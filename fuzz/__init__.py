"""Fuzz targets for what strangers send: frames and handshakes. Each target's first comment is its invariant.

``python -m fuzz.fuzz_frames`` runs atheris (coverage guided, until stopped; its own options may follow) where that is
installed, and otherwise a plain random driver for a number of iterations. Inputs worth keeping are in ``corpus``.
"""
