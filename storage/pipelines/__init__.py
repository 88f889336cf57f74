"""Statistics as SQL: the stages of a pipeline, each put around the statement of those before it, on both engines."""
