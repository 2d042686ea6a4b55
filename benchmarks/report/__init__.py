"""Turns results into a Markdown page and plots."""
