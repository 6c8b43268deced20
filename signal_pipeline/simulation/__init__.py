"""Simulated traffic for the demo, the benches and the tests."""
