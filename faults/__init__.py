"""Faults on purpose: what kills, floods and searches Signal, and compares what is left with an
oracle. Run by `make faults`.
"""
