"""Going forward: from a plan's text through its batches to its end, and what stops one."""
