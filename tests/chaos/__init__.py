"""A suite that is killed, starved, locked out, damaged and misled about the time, and ends as if it had not been."""
