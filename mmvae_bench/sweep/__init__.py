"""What to run, and how: requests, suites, plans, workers and the runner."""
