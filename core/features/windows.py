"""Sliding windows over a recording: the steps of a timeline."""

from __future__ import annotations


def sliding_windows(duration_s: float, *, window_s: float, hop_s: float) -> list[tuple[float, float]]:
    """Windows of `window_s` seconds, `hop_s` apart, that together cover the whole recording.

    A recording no longer than one window gives one window, as long as the recording. Otherwise every window is
    `window_s` long; where the last step would leave a rest uncovered, one more window ends with the recording.

    Parameters
    ----------
    duration_s : float
        Length of the recording in seconds, above 0.
    window_s, hop_s : float
        Length and step in seconds, `0 < hop_s <= window_s`.

    Returns
    -------
    list of (start_s, end_s)
        In order of time; at least one.

    Raises
    ------
    ValueError
        A length is not above 0, or the hop is longer than the window and would leave gaps.

    Examples
    --------
    >>> sliding_windows(5.0, window_s=3.0, hop_s=1.0)
    [(0.0, 3.0), (1.0, 4.0), (2.0, 5.0)]
    >>> sliding_windows(4.5, window_s=3.0, hop_s=1.0)
    [(0.0, 3.0), (1.0, 4.0), (1.5, 4.5)]
    >>> sliding_windows(2.0, window_s=3.0, hop_s=1.0)
    [(0.0, 2.0)]
    """
    if not (duration_s > 0 and 0 < hop_s <= window_s):
        raise ValueError(f"need duration > 0 and 0 < hop <= window, not {duration_s}, {hop_s}, {window_s}")
    if duration_s <= window_s:
        return [(0.0, duration_s)]
    n_whole = int((duration_s - window_s) / hop_s + 1e-9) + 1
    windows = [(index * hop_s, index * hop_s + window_s) for index in range(n_whole)]
    if duration_s - windows[-1][1] > 1e-6:
        windows.append((duration_s - window_s, duration_s))
    return windows
