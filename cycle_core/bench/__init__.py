"""`cycle-core bench`: methods compared on the embedded domain, whose true factors are known.

sets -> methods give pivots -> measures, before and after pivotal tuning -> tables with intervals

One result file for each method, training seed and set; a comparison that was stopped goes on with
the next one that is missing. docs/results.md is made of them.
"""
