"""The probes: questions about the stored data or the landing, whose answer is good or bad.

Each module asks about one thing, and lists its probes at its end. `../checks.py` makes an asset
check of each. A bad answer says what to do. Figures are counts and shares, never a value of an
event.
"""
