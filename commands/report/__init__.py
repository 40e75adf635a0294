"""The page that answers, in order, what one asks about a run; drawn from DVC's plots and metrics."""
