"""Metrics by their standard definitions: pure functions over numpy arrays, and small mergeable classes over them.

    detection     confusion matrix and what follows from it, ROC, average precision
    calibration   expected calibration error, risk against coverage
    localization  pixel F1, IoU and AUC, one picture or pooled
    explanation   ROUGE-L, cosine of sentence embeddings, baselines
    claims        each claim of an explanation against the record of what was done
    resampling    bootstrap over groups

A figure that is not defined (no positive, no picture) is NaN, never 0: it becomes null in a file and a dash in a
report. Definitions, formulas and the libraries that they were tested against stand in docs/reference/metrics.md.
"""
