"""Charts of agreement: what is in each cell, and that it can be read."""

from __future__ import annotations

import math

from pages.parts import agreement_charts
from pages.parts.theme import DARK, LIGHT


def cells(figure) -> dict[tuple[int, int], tuple[str, str]]:
    """By column and row: text and its colour."""
    return {(each.x, each.y): (each.text, each.font.color) for each in figure.layout.annotations}


def test_kappas_of_pairs_without_a_common_clip_are_left_open():
    values = [[1.0, 0.81, math.nan], [0.81, 1.0, -0.2], [math.nan, -0.2, 1.0]]
    shown = cells(agreement_charts.kappas(["Ann", "Ben", "Cy"], values, LIGHT))
    assert (shown[1, 0][0], shown[2, 0][0], shown[1, 2][0]) == ("0.81", "\u2013", "\u22120.20")
    assert [shown[at, at][0] for at in range(3)] == ["", "", ""], "nobody is compared with themselves"


def test_numbers_stand_out_from_their_cell():
    for surface in (LIGHT, DARK):
        shown = cells(agreement_charts.kappas(["Ann", "Ben"], [[1.0, 0.9], [0.1, 1.0]], surface))
        assert shown[1, 0][1] == surface.background
        assert shown[0, 1][1] == surface.text


def test_confusion_is_shaded_by_share_of_the_row_and_says_counts():
    figure = agreement_charts.confusion(["happy", "sad"], [[3, 1], [0, 0]], LIGHT)
    assert [list(row) for row in figure.data[0].z] == [[0.75, 0.25], [0.0, 0.0]]
    assert {place: text for place, (text, _) in cells(figure).items()} == {
        (0, 0): "3", (1, 0): "1", (0, 1): "", (1, 1): ""
    }  # fmt: skip


def test_names_are_cut_and_never_taken_for_tags():
    figure = agreement_charts.confusion(["<b>x</b>", "a label of very great length"], [[1, 0], [0, 1]], LIGHT)
    assert figure.layout.xaxis.ticktext == ("&lt;b>x&lt;/b>", "a label of very\u2026")
