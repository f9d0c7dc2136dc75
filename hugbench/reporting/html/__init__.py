"""A suite's report as one static page."""
