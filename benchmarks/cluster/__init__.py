"""What several nodes cost: hops between them, workers on one machine, many connections that end at once, a million.

``python -m benchmarks.cluster`` measures everything and writes the part of ``README.md`` that is about it.
"""
