"""The class-incremental protocol: Avalanche's strategies, hugbench's criteria, data and resumption.

Importing this package imports neither torch nor Avalanche; `protocol` does, when a stream starts.
"""
