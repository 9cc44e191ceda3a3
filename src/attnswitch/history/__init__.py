"""Questions asked of the record: what was measured, how two runs differ, is it slower than before.

selecting      runs and rows by label, model, backend, date ...
comparing      two runs, row by row
permutation    tests that hold whatever the noise is like
checking       the newest runs against the ones before them
worktree       a commit of a project in a folder of its own, for a while
worker         a process that measures when it is told to
side_by_side   an old commit against the code of now, in turn
"""
