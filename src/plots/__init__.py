"""Figures, cut by stage: a change to those of the results doesn't rerun normalize."""
