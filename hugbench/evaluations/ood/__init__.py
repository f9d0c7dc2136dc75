"""Out-of-distribution detection: scores, their metrics, and the data sets that they are asked about."""
