"""Faults on purpose, run by `make faults`.

They kill, flood and search Signal, and compare what is left with an oracle.
"""
