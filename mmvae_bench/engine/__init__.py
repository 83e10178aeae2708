"""Training, fast and repeatable: the only place that knows about speed."""
