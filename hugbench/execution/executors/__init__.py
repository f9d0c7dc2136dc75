"""Where runs happen: in this process, in a pool of them, on a Ray cluster, under Slurm.

An executor is a function `(where, work, control, observe) -> Tally`: it takes runs from a
`hugbench.execution.schedule.Schedule`, has each carried out by `hugbench.execution.run.execute`
somewhere, and hands the result back. What a run is, and what becomes of one whose worker died, is
not its business.
"""
