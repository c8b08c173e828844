"""Everything that measures without torch: statistics with intervals, and the benchmark.

* ``edgesafe.calib.statistics``: AUC, binomial and bootstrap intervals, decision thresholds.
* ``edgesafe.calib.bench``: the ``edgesafe bench`` command.
"""
