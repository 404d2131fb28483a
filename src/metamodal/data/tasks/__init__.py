"""Which rows are for what: splits, tasks and episodes."""
