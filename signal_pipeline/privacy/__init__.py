"""How private data is deleted or handed out: retention, erasure, data subjects, the kill switch.

The audit log records who did what.
"""
