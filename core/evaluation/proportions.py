"""How far a share may lie from that of all that might have been counted.

Wilson: "Probable inference, the law of succession, and statistical inference", Journal of the American Statistical
Association 22, 1927, pages 209 to 212. Unlike the textbook's normal interval it never leaves [0, 1], and says something
when nothing or everything was a hit.
"""

from __future__ import annotations

import math

from core.evaluation.bootstrap import LEVEL, ConfidenceInterval

_Z = 1.959963984540054
"""The 97.5th percentile of the standard normal distribution, for 95 %."""


def wilson_interval(n_hits: int, n_trials: int) -> ConfidenceInterval:
    """The 95 % interval of a share.

    Parameters
    ----------
    n_hits
        From 0 to `n_trials`.
    n_trials
        Drawn independently of each other; 0 says nothing, and gives the whole of [0, 1].

    Returns
    -------
    ConfidenceInterval
        Within [0, 1].

    Examples
    --------
    >>> found = wilson_interval(5, 10)
    >>> round(found.low, 4), round(found.high, 4)
    (0.2366, 0.7634)
    """
    if not 0 <= n_hits <= n_trials:
        raise ValueError(f"{n_hits} hits of {n_trials} trials")
    if n_trials == 0:
        return ConfidenceInterval(low=0.0, high=1.0, level=LEVEL)
    share, spread = n_hits / n_trials, _Z**2 / n_trials
    middle = (share + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(share * (1 - share) / n_trials + spread / (4 * n_trials))
    low = max(0.0, middle - half) if n_hits else 0.0  # rounding leaves 1e-17, which reports would call more than 0
    high = min(1.0, middle + half) if n_hits < n_trials else 1.0
    return ConfidenceInterval(low=low, high=high, level=LEVEL)
