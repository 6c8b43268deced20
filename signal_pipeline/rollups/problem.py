"""The error that every check of a model raises."""

from __future__ import annotations


class Problem(Exception):
    """One line that says what is wrong with a model; the loader puts the file's name before it."""
