"""Runs the cases over the loops, round by round, and sums up what was measured."""
