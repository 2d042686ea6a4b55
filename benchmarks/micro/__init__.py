"""Measurements inside one process."""
