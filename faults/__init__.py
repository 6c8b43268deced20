"""Faults on purpose, run by `make faults`.

The tests here kill, flood and search Signal, and compare what is left with an oracle.
"""
