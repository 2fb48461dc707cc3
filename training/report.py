"""What was measured, for people: a report with plots in one HTML file, and a model card in Markdown."""

from __future__ import annotations

import glob
import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from training.scores import EMOTIONS, Evaluation, Figure, GroupScores, to_plain

INK, MUTED, LINE, ACCENT, OTHER, WARNING = "#1c2430", "#5b6675", "#d9dee5", "#2456a6", "#c2571a", "#8a4b00"
CORPUS_COLOURS = ("#2456a6", "#c2571a", "#2c7a4b", "#7a3e9d", "#6b6b6b", "#a0263f", "#0e7c86")
"""Dark enough for text-size marks on white (contrast of at least 4.5); corpora also have their name beside them."""


def write_report(evaluation: Evaluation, path: Path) -> None:
    """Write the whole report as one HTML file that needs nothing from the internet."""
    path.write_text(report_html(evaluation), encoding="utf-8")


def report_html(evaluation: Evaluation) -> str:
    """The report as text."""
    model, protocol = evaluation.model, evaluation.protocol
    sections = [
        _header(evaluation),
        _section("Scores", _scores(evaluation), protocol),
        _section("What is confused with what", _confusion(evaluation), protocol),
        _section("Is a confidence of 80 % right eight times in ten?", _calibration(evaluation), protocol),
        _section("Does it know when it errs?", _doubt(evaluation), protocol),
    ]
    if evaluation.robustness:
        sections.append(_section("Noise, telephone, level, shift", _robustness(evaluation), protocol))
    sections += [
        _section("Corpora on common ground", _cross_corpus(evaluation), evaluation.cross_corpus.protocol),
        _section("Speaker by speaker", _speakers(evaluation), protocol),
    ]
    if evaluation.human is not None:
        sections.append(_section("Beside human listeners", _human(evaluation), evaluation.human.protocol))
    sections.append(_section("How this was measured", _method(evaluation), protocol))
    title = f"Evaluation of {model['name']}"
    return (
        "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{_text(title)}</title><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body><main>{''.join(sections)}</main></body></html>\n"
    )


_SCORE_COLUMNS = (
    "recordings of",
    "n",
    "speakers",
    "accuracy",
    "UAR",
    "macro F1",
    "among own labels",
    "ECE",
    "majority",
    "random",
)

# -- sections


def _header(evaluation: Evaluation) -> str:
    model, manifest, pooled = evaluation.model, evaluation.manifest, evaluation.pooled
    terms = "commercial use allowed" if model.get("is_commercial_use_allowed") else "no commercial use"
    tiles = [
        ("accuracy", _percent(pooled.accuracy), "over all outputs"),
        ("unweighted average recall", _percent(pooled.unweighted_average_recall), "mean recall over labels"),
        ("macro F1", _percent(pooled.macro_f1), "mean F1 over labels"),
        ("calibration error", f"{pooled.expected_calibration_error:.3f}", "ECE, 15 bins of equal width"),
    ]
    return (
        f"<header><h1>Evaluation of {_text(model['name'])}</h1>"
        f"<p class='facts'>{_text(model.get('version', ''))} · {_text(model.get('licence', ''))} ({terms}) · "
        f"{manifest['n_scored']:,} of {manifest['n_rows']:,} recordings of {_text(manifest['name'])}, "
        f"{manifest['hours']:.1f} hours · {_text(evaluation.created_at)}</p>"
        f"<p class='protocol'><strong>Protocol.</strong> {_text(evaluation.protocol)}.</p>"
        "<div class='tiles'>"
        + "".join(
            f"<div class='tile'><div class='label'>{label}</div><div class='value'>{value}</div>"
            f"<div class='note'>{note}</div></div>"
            for label, value, note in tiles
        )
        + "</div></header>"
    )


def _scores(evaluation: Evaluation) -> str:
    groups = [evaluation.pooled, *evaluation.by_corpus]
    if len(evaluation.by_language) > 1:
        groups += [_renamed(group, f"language: {group.name}") for group in evaluation.by_language]
    groups += [_renamed(group, f"sex: {group.name}") for group in evaluation.by_sex]
    exposures = [_renamed(group, group.name) for group in evaluation.by_exposure]
    rows = groups + (exposures if len(exposures) > 1 else [])
    table = _table(
        _SCORE_COLUMNS,
        [
            [
                group.name,
                f"{group.n_recordings:,}",
                str(group.n_speakers),
                _interval(group.accuracy),
                _interval(group.unweighted_average_recall),
                _interval(group.macro_f1),
                _interval(group.restricted_accuracy),
                f"{group.expected_calibration_error:.3f}",
                f"{100 * group.majority_accuracy:.1f}",
                f"{100 * group.random_accuracy:.1f}",
            ]
            for group in rows
        ],
    )
    shown = [evaluation.pooled, *evaluation.by_corpus]
    figure = go.Figure()
    for name, colour, pick in (
        ("accuracy", ACCENT, lambda group: group.accuracy),
        ("unweighted average recall", OTHER, lambda group: group.unweighted_average_recall),
        ("accuracy among the corpus's own labels", "#2c7a4b", lambda group: group.restricted_accuracy),
    ):
        values = [pick(group) for group in shown]
        figure.add_bar(
            name=name,
            x=[group.name for group in shown],
            y=[100 * value.value for value in values],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [100 * (value.high - value.value) for value in values],
                "arrayminus": [100 * (value.value - value.low) for value in values],
                "color": INK,
                "thickness": 1.2,
            },
            marker_color=colour,
            hovertemplate="%{x}: %{y:.1f} %<extra>" + name + "</extra>",
        )
    figure.add_scatter(
        name="always the most frequent label",
        x=[group.name for group in shown],
        y=[100 * group.majority_accuracy for group in shown],
        mode="markers",
        marker={"symbol": "line-ew", "size": 34, "line": {"width": 2.5, "color": INK}},
        hovertemplate="%{x}: %{y:.1f} %<extra>majority</extra>",
    )
    _lay_out(figure, y_title="%", height=380)
    figure.update_yaxes(range=[0, 100])
    return (
        _plot(figure)
        + table
        + _note(
            "Percent; in brackets the range of 95 % of the bootstrap resamples of clips. <em>Among own labels</em>: "
            "only the labels that a corpus has compete, as in studies of that corpus alone. <em>Majority</em> always "
            "names the most frequent label, <em>random</em> any of the model's emotions; the UAR of both is one over "
            "the number of labels. With other speakers the pooled accuracy would move within "
            f"{_range(evaluation.pooled.accuracy_by_speaker)} (whole speakers resampled)."
        )
    )


def _confusion(evaluation: Evaluation) -> str:
    groups = [evaluation.pooled, *evaluation.by_corpus]
    figure = go.Figure()
    names = [str(emotion) for emotion in EMOTIONS]
    for number, group in enumerate(groups):
        totals = [sum(row) for row in group.confusion]
        shares = [
            [100 * count / total if total else None for count in row]
            for row, total in zip(group.confusion, totals, strict=True)
        ]
        figure.add_heatmap(
            z=shares,
            x=names,
            y=names,
            text=[[f"{share:.0f}" if share is not None else "" for share in row] for row in shares],
            customdata=group.confusion,
            texttemplate="%{text}",
            hovertemplate="said %{x}, labelled %{y}: %{z:.1f} % (%{customdata})<extra></extra>",
            colorscale=[[0, "#ffffff"], [1, ACCENT]],
            zmin=0,
            zmax=100,
            colorbar={"title": "% of label", "thickness": 12},
            visible=number == 0,
        )
    buttons = [
        {
            "label": f"{group.name} ({group.n_recordings:,})",
            "method": "update",
            "args": [{"visible": [other == number for other in range(len(groups))]}],
        }
        for number, group in enumerate(groups)
    ]
    _lay_out(figure, height=520)
    figure.update_layout(
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1.13, "yanchor": "bottom"}],
        margin={"t": 70, "l": 90},
    )
    figure.update_xaxes(title="answer", side="bottom")
    figure.update_yaxes(title="label", autorange="reversed")
    return _plot(figure) + _note("Percent of each label's recordings; the menu chooses the corpus.")


def _calibration(evaluation: Evaluation) -> str:
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 100],
        y=[0, 100],
        mode="lines",
        line={"color": MUTED, "dash": "dot"},
        name="perfect",
        hoverinfo="skip",
    )
    for number, group in enumerate([evaluation.pooled, *evaluation.by_corpus]):
        filled = [bin for bin in group.reliability if bin.n_clips]
        figure.add_scatter(
            x=[100 * bin.mean_confidence for bin in filled],
            y=[100 * bin.accuracy for bin in filled],
            mode="lines+markers",
            name=group.name,
            line={"color": INK if number == 0 else CORPUS_COLOURS[(number - 1) % len(CORPUS_COLOURS)]},
            marker={"size": [5 + 15 * math.sqrt(bin.n_clips / max(group.n_recordings, 1)) for bin in filled]},
            text=[f"{bin.n_clips:,} recordings" for bin in filled],
            hovertemplate="promised %{x:.0f} %, kept %{y:.0f} %, %{text}<extra>" + group.name + "</extra>",
            visible=True if number == 0 else "legendonly",
        )
    _lay_out(figure, x_title="confidence, %", y_title="right, %", height=440)
    figure.update_xaxes(range=[0, 100])
    figure.update_yaxes(range=[0, 100])
    table = _table(
        ["recordings of", "ECE", "largest error of a bin", "Brier score", "NLL, nats", "mean confidence", "accuracy"],
        [
            [
                group.name,
                f"{group.expected_calibration_error:.3f}",
                f"{group.maximum_calibration_error:.3f}",
                f"{group.brier_score:.3f}",
                f"{group.negative_log_likelihood_nats:.3f}",
                f"{100 * group.mean_confidence:.1f}",
                f"{100 * group.accuracy.value:.1f}",
            ]
            for group in [evaluation.pooled, *evaluation.by_corpus]
        ],
    )
    return (
        _plot(figure)
        + table
        + _note(
            "15 bins of equal width; the larger a mark, the more recordings stand behind it. Click a corpus in the "
            "legend to show it. Brier score: 0 is best, 0.875 is eight equal probabilities."
        )
    )


def _doubt(evaluation: Evaluation) -> str:
    figure = go.Figure()
    for number, ranking in enumerate(evaluation.ranking):
        figure.add_scatter(
            x=[100 * coverage for coverage, _ in ranking.risk_coverage],
            y=[100 * (1 - risk) for _, risk in ranking.risk_coverage],
            mode="lines",
            name=ranking.measure,
            line={"color": CORPUS_COLOURS[number % len(CORPUS_COLOURS)], "dash": "solid" if number else "dash"},
            hovertemplate="%{x:.0f} % answered: %{y:.1f} % right<extra>" + ranking.measure + "</extra>",
        )
    _lay_out(figure, x_title="recordings answered, the surest first, %", y_title="right, %", height=420)
    coverages = list(evaluation.ranking[0].accuracies_at_coverages) if evaluation.ranking else []
    table = _table(
        ["doubt measured by", "AUROC of errors", "against plain confidence", "AURC"]
        + [f"right at {coverage} %" for coverage in coverages],
        [
            [
                ranking.measure,
                f"{ranking.error_ranking_auroc.value:.3f} ({ranking.error_ranking_auroc.low:.3f} to "
                f"{ranking.error_ranking_auroc.high:.3f})",
                ""
                if (gain := ranking.auroc_gain_over_plain_confidence) is None
                else f"{gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
                f"{ranking.area_under_risk_coverage_curve:.3f}",
                *(f"{100 * ranking.accuracies_at_coverages[coverage]:.1f}" for coverage in coverages),
            ]
            for ranking in evaluation.ranking
        ],
    )
    pooled = evaluation.pooled
    return (
        f"<p>{_text(evaluation.ranking_verdict)}</p>"
        + _plot(figure)
        + table
        + _note(
            "<em>Plain confidence</em> comes from one pass without dropout, the others from the passes with it; all "
            "rank the errors of the same served answers. AUROC: chance that a wrong answer is more doubtful than a "
            "right one; the range of the gain over plain confidence is one of 95 % for the four measures together. "
            "AURC: mean share of errors over all coverages, lower is better. With its own threshold the model says "
            f"“not sure” to {100 * pooled.abstained_share:.1f} % and is right on "
            f"{100 * pooled.accuracy_when_answering:.1f} % of the rest."
        )
    )


def _robustness(evaluation: Evaluation) -> str:
    rows = evaluation.robustness
    figure = go.Figure()
    figure.add_bar(
        x=[row.disturbance for row in rows],
        y=[100 * row.accuracy.value for row in rows],
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [100 * (row.accuracy.high - row.accuracy.value) for row in rows],
            "arrayminus": [100 * (row.accuracy.value - row.accuracy.low) for row in rows],
            "color": INK,
            "thickness": 1.2,
        },
        marker_color=[INK if row.disturbance == "clean" else ACCENT for row in rows],
        hovertemplate="%{x}: %{y:.1f} % right<extra></extra>",
    )
    _lay_out(figure, y_title="accuracy, %", height=380)
    figure.update_yaxes(range=[0, 100])
    table = _table(
        ["disturbance", "what happens", "n", "accuracy", "points lost", "UAR", "ECE", "mean confidence", "refused"],
        [
            [
                row.disturbance,
                row.description,
                f"{row.n_recordings:,}",
                _interval(row.accuracy),
                f"{100 * row.accuracy_lost.value:.1f} ({100 * row.accuracy_lost.low:.1f} to "
                f"{100 * row.accuracy_lost.high:.1f})",
                f"{100 * row.unweighted_average_recall:.1f}",
                f"{row.expected_calibration_error:.3f}",
                f"{100 * row.mean_confidence:.1f}",
                str(row.n_refused),
            ]
            for row in rows
        ],
    )
    return (
        _plot(figure)
        + table
        + _note(
            "A sample, the same recordings in every row. Points lost are paired, clip by clip, with the range of 95 % "
            "of the resamples. Noise levels refer to the stretch with speech."
        )
    )


def _cross_corpus(evaluation: Evaluation) -> str:
    view = evaluation.cross_corpus
    heard = {True: "yes", False: "no", None: "not stated"}
    table = _table(
        ["corpus", "heard in training", "n", "accuracy", "UAR"],
        [
            [
                one.corpus,
                heard[one.is_heard_in_training],
                f"{one.n_recordings:,}",
                _interval(one.accuracy),
                _interval(one.unweighted_average_recall),
            ]
            for one in view.corpora
        ],
    )
    emotions = ", ".join(view.shared_emotions)
    return (
        f"<p>Only the {len(view.shared_emotions)} emotions that all corpora share compete: {_text(emotions)}.</p>"
        + table
        + _note(
            "A model that recognises the corpus instead of the emotion does well where it was trained and badly "
            "elsewhere; compare models trained on different corpora with <code>python -m training cross-corpus</code>."
        )
    )


def _speakers(evaluation: Evaluation) -> str:
    figure = go.Figure()
    corpora = sorted({speaker.corpus for speaker in evaluation.by_speaker})
    symbols = {"female": "circle", "male": "square"}
    for number, corpus in enumerate(corpora):
        own = [speaker for speaker in evaluation.by_speaker if speaker.corpus == corpus]
        figure.add_scatter(
            x=[100 * speaker.accuracy for speaker in own],
            y=[corpus] * len(own),
            mode="markers",
            name=corpus,
            marker={
                "color": CORPUS_COLOURS[number % len(CORPUS_COLOURS)],
                "size": 10,
                "opacity": 0.65,
                "symbol": [symbols.get(speaker.sex, "diamond") for speaker in own],
            },
            text=[
                f"{speaker.speaker}, {speaker.sex or 'sex not stated'}, {speaker.n_recordings} recordings, "
                f"{speaker.exposure}"
                for speaker in own
            ],
            hovertemplate="%{text}: %{x:.1f} % right<extra></extra>",
            showlegend=False,
        )
    _lay_out(figure, x_title="accuracy, %", height=120 + 60 * max(len(corpora), 1))
    figure.update_xaxes(range=[-1.5, 101.5])
    shown = evaluation.by_speaker
    table = _table(
        ["speaker", "sex", "n", "accuracy", "UAR", "in training"],
        [
            [
                speaker.speaker,
                speaker.sex or "not stated",
                str(speaker.n_recordings),
                f"{100 * speaker.accuracy:.1f}",
                f"{100 * speaker.unweighted_average_recall:.1f}",
                str(speaker.exposure),
            ]
            for speaker in shown
        ],
    )
    return (
        _plot(figure)
        + _note("One mark for each speaker: circles are women, squares men, diamonds speakers whose sex is not stated.")
        + f"<details><summary>All {len(shown)} speakers, worst first</summary>{table}</details>"
    )


def _human(evaluation: Evaluation) -> str:
    human = evaluation.human
    assert human is not None
    return (
        f"<p>On the same {human.n_recordings:,} CREMA-D recordings the model names the acted emotion in "
        f"<strong>{100 * human.model_accuracy:.1f} %</strong>. The plurality of listeners who heard only the voice "
        f"names it in <strong>{100 * human.plurality_accuracy:.1f} %</strong> (ties counted as wrong; "
        f"{100 * human.plurality_accuracy_with_ties:.1f} % where a tie that holds it counts as right). A single "
        f"listener does so in {100 * human.single_listener_accuracy_published:.1f} %, as published by Cao et al. 2014 "
        "over all 7,442 recordings. The model says what the listeners said in "
        f"{100 * human.model_agreement_with_plurality:.1f} % of the recordings without a tie. What an actor meant and "
        "what listeners hear are two things; the scores above are about the first.</p>"
    )


def _method(evaluation: Evaluation) -> str:
    settings = ", ".join(f"{key} {value}" for key, value in evaluation.settings.items())
    problems = (
        "<p>No recording was left out.</p>"
        if not evaluation.problems
        else f"<details><summary>{len(evaluation.problems):,} recordings were left out</summary>"
        + _table(["recording", "reason"], [[problem.path, problem.reason] for problem in evaluation.problems])
        + "</details>"
    )
    unknown = (
        f"<p>{evaluation.n_labels_unknown_to_model:,} recordings have a label that the model does not know; they count "
        "as wrong everywhere.</p>"
        if evaluation.n_labels_unknown_to_model
        else ""
    )
    return (
        "<p>Every recording took the served way, from its bytes: decoding, trimming of silence, log-mel, LiteRT "
        "encoder, Monte Carlo dropout; the API gives the same numbers. "
        f"Settings: {_text(settings)}. Manifest SHA-256 "
        f"<code>{_text(str(evaluation.manifest['sha256']))}</code>.</p>{unknown}{problems}"
    )


# -- model card


def scores_for_card(evaluation: Evaluation, *, title: str) -> dict[str, object]:
    """One entry for `scores` in a model's `card.json`: what an evaluation found, without its curves and speakers.

    Parameters
    ----------
    title
        What a reader should call it, such as "80/10/10 split, test part".
    """
    entry = {
        "title": title,
        "protocol": evaluation.protocol,
        "created_at": evaluation.created_at,
        "model_version": evaluation.model.get("version", ""),
        "manifest": dict(evaluation.manifest),
        "groups": [
            _group_for_card(group, kind)
            for kind, groups in (
                ("pooled", [evaluation.pooled]),
                ("corpus", evaluation.by_corpus),
                ("language", evaluation.by_language),
                ("sex", evaluation.by_sex),
            )
            for group in groups
        ],
        "reliability": [asdict(bin) for bin in evaluation.pooled.reliability if bin.n_clips],
        "risk_coverage": {
            ranking.measure: {
                "error_ranking_auroc": asdict(ranking.error_ranking_auroc),
                "area_under_risk_coverage_curve": ranking.area_under_risk_coverage_curve,
                "accuracies_at_coverages": dict(ranking.accuracies_at_coverages),
            }
            for ranking in evaluation.ranking
        },
        "ranking_verdict": evaluation.ranking_verdict,
        "robustness": [asdict(row) for row in evaluation.robustness],
        "human": None if evaluation.human is None else asdict(evaluation.human),
    }
    return {key: to_plain(value) for key, value in entry.items()}


def _group_for_card(group: GroupScores, kind: str) -> dict[str, object]:
    return {
        "kind": kind,
        "name": group.name,
        "protocol": group.protocol,
        "n_recordings": group.n_recordings,
        "n_speakers": group.n_speakers,
        "accuracy": asdict(group.accuracy),
        "unweighted_average_recall": asdict(group.unweighted_average_recall),
        "macro_f1": asdict(group.macro_f1),
        "restricted_accuracy": asdict(group.restricted_accuracy),
        "majority_accuracy": group.majority_accuracy,
        "random_accuracy": group.random_accuracy,
        "expected_calibration_error": group.expected_calibration_error,
    }


def write_model_card(card: Mapping[str, Any]) -> str:
    """The model card as Markdown, from the content of `card.json`: terms, data, scores with their protocol, limits.

    Parameters
    ----------
    card
        As in `card.json`; `data` as `write_training_record` gives it and `scores` as a list of what `scores_for_card`
        gives. Whatever is missing is said to be missing.
    """
    name = card["name"]
    is_commercial = card.get("is_commercial_use_allowed") is True
    lines = [
        f"# Model card: {name}",
        "",
        str(card.get("description", "")),
        "",
        "| | |",
        "| --- | --- |",
        f"| version | `{card.get('version', '')}` |",
        f"| made | {card.get('created_at', '')} |",
        f"| emotions | {', '.join(card.get('emotions', []))} |",
        f"| licence | {card.get('licence', '')} |",
        f"| commercial use | {'allowed' if is_commercial else '**not allowed**'} |",
        *([f"| weights | {card['number_format']} |"] if card.get("number_format") else []),
        *_serving_lines(card.get("serving") or {}),
        "",
        "<!-- Written by `python -m training card`; change card.json, not this file. -->",
        "",
        "## What it is for",
        "",
        "Saying which of the emotions above an adult's acted voice carries, in recordings of one speaker, as a help to "
        "a person who listens too. It has learnt what actors do when asked for an emotion; what people feel is another "
        "question. Do not use it to judge people: not for hiring, policing, insurance, teaching, health or credit.",
        "",
        "## What it heard",
        "",
        *_data_lines(card.get("data") or {}, protocol=card.get("protocol")),
        "",
        "## How well it does",
        "",
        *_score_lines(card.get("scores") or [], name=name),
        *_number_format_lines(card.get("number_formats") or [], is_encoder_frozen=bool(card.get("encoder"))),
        *_caveat_lines(card.get("caveats") or []),
    ]
    return "\n".join(lines).rstrip("\n") + "\n"


def publish_model_card(model: Path, docs: Path) -> Path:
    """Write `docs/NAME.md` and its reliability diagrams from the card in the folder `model`; gives the page's path.

    Diagrams of an earlier card of this name that the page no longer shows are removed.
    """
    card = json.loads((model / "card.json").read_text(encoding="utf-8"))
    docs.mkdir(parents=True, exist_ok=True)
    written = set()
    for number, entries in enumerate(_card_sections(card.get("scores") or [])):
        if len(entries) == 1 and (bins := _card_bins(entries[0])):
            diagram = docs / _diagram_name(card["name"], number)
            diagram.write_text(reliability_svg(bins), encoding="utf-8")
            written.add(diagram)
    for diagram in set(docs.glob(f"{glob.escape(card['name'])}-reliability-[0-9]*.svg")) - written:
        diagram.unlink()
    page = docs / f"{card['name']}.md"
    page.write_text(write_model_card(card), encoding="utf-8")
    return page


def first_score(model: Path) -> str:
    """The first group of figures in a model's card, in one sentence with its protocol."""
    card = json.loads((model / "card.json").read_text(encoding="utf-8"))
    entries = _measured(card.get("scores") or [])
    if not entries or not entries[0]["groups"]:
        return "not measured"
    group = entries[0]["groups"][0]
    return f"accuracy {_card_interval(group['accuracy'])} % on {group['name']}: {entries[0]['protocol']}"


def reliability_svg(bins: Sequence[Mapping[str, Any]]) -> str:
    """A reliability diagram as SVG: accuracy over confidence, one mark for each bin that holds recordings."""
    size, margin = 320, 44
    side = size - 2 * margin
    n_clips = sum(bin["n_clips"] for bin in bins) or 1

    def place(confidence: float, right: float) -> tuple[float, float]:
        return round(margin + side * confidence, 1), round(size - margin - side * right, 1)

    marks = []
    points = []
    for bin in bins:
        x, y = place(bin["mean_confidence"], bin["accuracy"])
        points.append(f"{x},{y}")
        radius = round(3 + 12 * math.sqrt(bin["n_clips"] / n_clips), 1)
        marks.append(
            f'<circle cx="{x}" cy="{y}" r="{radius}" fill="{ACCENT}" fill-opacity="0.55"><title>promised '
            f"{bin['mean_confidence']:.0%}, kept {bin['accuracy']:.0%}, {bin['n_clips']:,} recordings</title></circle>"
        )
    ticks = []
    for share in (0.0, 0.5, 1.0):
        (x, _), (_, y) = place(share, 0.0), place(0.0, share)
        ticks.append(f'<text x="{x}" y="{size - margin + 16}" text-anchor="middle">{share:.0%}</text>')
        ticks.append(f'<text x="{margin - 6}" y="{y + 4}" text-anchor="end">{share:.0%}</text>')
    start, end = place(0, 0), place(1, 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" height="{size}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}" role="img" aria-label="Reliability diagram">'
        f'<rect width="{size}" height="{size}" fill="#fff"/>'
        f'<rect x="{margin}" y="{margin}" width="{side}" height="{side}" fill="none" stroke="{LINE}"/>'
        f'<line x1="{start[0]}" y1="{start[1]}" x2="{end[0]}" y2="{end[1]}" stroke="{MUTED}" stroke-dasharray="4 4"/>'
        f'<polyline points="{" ".join(points)}" fill="none" stroke="{ACCENT}"/>{"".join(marks)}{"".join(ticks)}'
        f'<text x="{size / 2}" y="{size - 8}" text-anchor="middle">confidence promised</text>'
        f'<text x="12" y="{size / 2}" text-anchor="middle" transform="rotate(-90 12 {size / 2})">right</text></svg>\n'
    )


def _serving_lines(serving: Mapping[str, Any]) -> list[str]:
    if not serving:
        return []
    return [
        f"| input | {serving.get('n_mels')} log-mel bands, {serving.get('sample_rate_hz')} Hz mono |",
        f"| longest stretch at once | {serving.get('max_context_s')} s; longer recordings by sliding windows |",
        f"| temperature | {serving.get('temperature')} (fitted on validation recordings) |",
    ]


def _data_lines(data: Mapping[str, Any], *, protocol: object) -> list[str]:
    lines = []
    corpora = data.get("corpora")
    if isinstance(corpora, Mapping) and corpora:
        lines += [
            "| corpus | recordings | with their labels | speakers | hours | licence |",
            "| --- | ---: | ---: | ---: | ---: | --- |",
        ]
        for corpus, heard in corpora.items():
            lines.append(
                f"| {corpus} | {heard.get('n_recordings', 0):,} | {heard.get('n_labelled', 0):,} | "
                f"{heard.get('n_speakers', 0)} | {heard.get('hours', 0):.2f} | {heard.get('licence', '')} |"
            )
        lines.append("")
    else:
        lines += ["The card does not say which corpora it heard.", ""]
    if data.get("manifest_sha256"):
        lines += [f"SHA-256 of these rows of the manifest: `{data['manifest_sha256']}`.", ""]
    if protocol:
        lines += [f"Protocol: {protocol}", ""]
    return lines[:-1]


def _measured(scores: object) -> list[Mapping[str, Any]]:
    """Entries of `scores` that `scores_for_card` made; a card may hold figures of other kinds as well."""
    if not isinstance(scores, list):
        return []
    return [entry for entry in scores if isinstance(entry, Mapping) and "groups" in entry]


_ONE_FOLD = re.compile(r"\bfold (\d+) of (\d+)\b", flags=re.IGNORECASE)


def _card_sections(scores: object) -> list[list[Mapping[str, Any]]]:
    """Entries of `scores` as the page shows them: one to a section, or those of single folds of one kind together."""
    sections: dict[str, list[Mapping[str, Any]]] = {}
    for number, entry in enumerate(_measured(scores)):
        title = str(entry["title"])
        # Titles that differ only in the fold belong together: "Unseen speakers, fold 1 of 5" and so on.
        kind = f"folds {_without_fold(title)}" if _ONE_FOLD.search(title) and entry["groups"] else f"entry {number}"
        sections.setdefault(kind, []).append(entry)
    return list(sections.values())


def _without_fold(text: str) -> str:
    return _ONE_FOLD.sub(r"fold N of \2", text)


def _score_lines(scores: object, *, name: str) -> list[str]:
    sections = _card_sections(scores)
    if not sections:
        return ["Not measured yet."]
    lines = [
        "Percent; in brackets the range of 95 % of the bootstrap resamples of clips. UAR is the mean recall over "
        "labels. *Among own labels*: only the labels that a corpus has compete. ECE: 15 bins of equal width.",
        "",
    ]
    for number, entries in enumerate(sections):
        if len(entries) > 1:
            lines += _fold_lines(entries)
            continue
        (entry,) = entries
        lines += [f"### {entry['title']}", "", f"Protocol: {entry['protocol']}.", ""]
        lines += [
            "| recordings of | n | speakers | accuracy | UAR | macro F1 | among own labels | ECE | majority | random |",
            "| --- | ---: | ---: | --- | --- | --- | --- | ---: | ---: | ---: |",
        ]
        lines += [_group_line(group) for group in entry["groups"]]
        lines.append("")
        if _card_bins(entry):
            lines += [f"![Reliability diagram]({_diagram_name(name, number)})", ""]
        lines += _risk_coverage_lines(entry) + _robustness_lines(entry) + _human_lines(entry)
    return lines


def _fold_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Scores of single folds as one table: all recordings of each, and the accuracy on each corpus."""
    before = _ONE_FOLD.split(str(entries[0]["title"]))[0].rstrip(" ,:;")
    protocols = {str(entry["protocol"]): None for entry in entries}
    shared = {_without_fold(protocol): None for protocol in protocols}
    corpora = sorted({group["name"] for entry in entries for group in entry["groups"] if group["kind"] == "corpus"})
    has_listeners = any(entry.get("human") for entry in entries)
    columns = ["accuracy", "UAR", "macro F1", "ECE", "majority", "random", *corpora]
    columns += ["plurality of listeners"] if has_listeners else []
    lines = [
        f"### {before}, fold by fold" if before else "### Fold by fold",
        "",
        *(line for protocol in (shared if len(shared) == 1 else protocols) for line in (f"Protocol: {protocol}.", "")),
        "| fold | n | speakers | " + " | ".join(columns) + " |",
        "| --- | ---: | ---: | --- | --- | --- |" + " ---: |" * (len(columns) - 3),
    ]
    for entry in entries:
        found = _ONE_FOLD.search(str(entry["title"]))
        assert found is not None
        pooled = next((group for group in entry["groups"] if group["kind"] == "pooled"), entry["groups"][0])
        by_corpus = {
            group["name"]: group["accuracy"]["value"] for group in entry["groups"] if group["kind"] == "corpus"
        }
        cells = [
            *(_card_interval(pooled.get(figure)) for figure in ("accuracy", "unweighted_average_recall", "macro_f1")),
            _number(pooled.get("expected_calibration_error"), ".3f"),
            _number(pooled.get("majority_accuracy"), ".1f", 100),
            _number(pooled.get("random_accuracy"), ".1f", 100),
            *(_number(by_corpus.get(corpus), ".1f", 100) for corpus in corpora),
        ]
        if has_listeners:
            cells.append(_number((entry.get("human") or {}).get("plurality_accuracy"), ".1f", 100))
        lines.append(f"| {found[1]} | {pooled['n_recordings']:,} | {pooled['n_speakers']} | {' | '.join(cells)} |")
    listeners = (
        " The plurality of listeners to the voice alone is that on the CREMA-D recordings of the fold, ties counted as "
        "wrong."
        if has_listeners
        else ""
    )
    note = "Below the name of a corpus: accuracy on its recordings. `card.json` holds all figures by fold." + listeners
    return [*lines, "", note, ""]


def _diagram_name(name: str, number: int) -> str:
    return f"{name}-reliability-{number + 1}.svg"


def _group_line(group: Mapping[str, Any]) -> str:
    title = group["name"] if group["kind"] in ("pooled", "corpus") else f"{group['kind']}: {group['name']}"
    figures = ("accuracy", "unweighted_average_recall", "macro_f1", "restricted_accuracy")
    cells = " | ".join(_card_interval(group.get(figure)) for figure in figures)
    return (
        f"| {title} | {group['n_recordings']:,} | {group['n_speakers']} | {cells} | "
        f"{_number(group.get('expected_calibration_error'), '.3f')} | "
        f"{_number(group.get('majority_accuracy'), '.1f', 100)} | {_number(group.get('random_accuracy'), '.1f', 100)} |"
    )


def _risk_coverage_lines(entry: Mapping[str, Any]) -> list[str]:
    measures = entry.get("risk_coverage") or {}
    if not measures:
        return []
    coverages = list(next(iter(measures.values()))["accuracies_at_coverages"])
    # Entries of a training run have coverages as shares, and AUROCs without an interval.
    shown = [f"{100 * float(share):.0f}" if float(share) <= 1 else share for share in coverages]
    lines = [
        entry.get("ranking_verdict", ""),
        "",
        "| doubt measured by | AUROC of errors | AURC | " + " | ".join(f"right at {share} %" for share in shown) + " |",
        "| --- | --- | ---: | " + " | ".join("---:" for _ in coverages) + " |",
    ]
    for measure, found in measures.items():
        auroc = found["error_ranking_auroc"]
        ranged = (
            f"{_number(auroc['value'], '.3f')} ({_number(auroc['low'], '.3f')} to {_number(auroc['high'], '.3f')})"
            if isinstance(auroc, Mapping)
            else _number(auroc, ".3f")
        )
        kept = " | ".join(_number(found["accuracies_at_coverages"][share], ".1f", 100) for share in coverages)
        lines.append(
            f"| {measure.replace('_', ' ')} | {ranged} | "
            f"{_number(found.get('area_under_risk_coverage_curve'), '.3f')} | {kept} |"
        )
    return [*lines, ""]


def _robustness_lines(entry: Mapping[str, Any]) -> list[str]:
    rows = entry.get("robustness") or []
    if not rows:
        return []
    lines = [
        f"On a sample of {max(row['n_recordings'] for row in rows):,} of these recordings, disturbed:",
        "",
        "| disturbance | accuracy | points lost | refused |",
        "| --- | --- | --- | ---: |",
    ]
    lines += [
        f"| {row['disturbance']} | {_card_interval(row['accuracy'])} | {_card_interval(row['accuracy_lost'])} | "
        f"{row['n_refused']} |"
        for row in rows
    ]
    return [*lines, ""]


def _human_lines(entry: Mapping[str, Any]) -> list[str]:
    human = entry.get("human")
    if not human:
        return []
    agreement = human.get("model_agreement_with_plurality")
    return [
        f"On these {human['n_recordings']:,} CREMA-D recordings the plurality of listeners to the voice alone names "
        f"the acted emotion in {_number(human['plurality_accuracy'], '.1f', 100)} % (ties counted as wrong; "
        f"{_number(human.get('plurality_accuracy_with_ties'), '.1f', 100)} % where a tie that holds it counts as "
        f"right), a single listener in {_number(human['single_listener_accuracy_published'], '.1f', 100)} % (Cao et "
        f"al. 2014, over the whole corpus), the model in {_number(human['model_accuracy'], '.1f', 100)} %."
        + (
            f" Model and plurality agree on {_number(agreement, '.1f', 100)} % of the recordings without a tie."
            if agreement is not None
            else ""
        ),
        "",
    ]


_SIZE_COLUMNS = ("number_format", "encoder_mb", "head_mb", "total_mb")
"""Shown first and side by side; older cards have the encoder's size only."""


def _number_format_lines(table: Sequence[Mapping[str, Any]], *, is_encoder_frozen: bool) -> list[str]:
    if not table:
        return []
    held = dict.fromkeys(column for row in table for column in row)
    columns = [column for column in _SIZE_COLUMNS if column in held]
    columns += [column for column in held if column not in columns]
    titles = [column.replace("_", " ").replace(" mb", " MB").replace("cpu", "CPU") for column in columns]
    lines = ["### Number formats", ""]
    if "accuracy" in held:
        heard = "is frozen" if is_encoder_frozen else "heard these recordings without labels"
        lines += [
            "Protocol of the accuracy: recordings of the test part of fold 1 of 5, answered by a head fitted inside "
            f"that fold, through the encoder that ships, which {heard}.",
            "",
        ]
    lines += ["| " + " | ".join(titles) + " |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for row in table:
        cells = [row.get(column) for column in columns]
        shown = [f"{cell:.4g}" if isinstance(cell, float) else "-" if cell is None else str(cell) for cell in cells]
        lines.append("| " + " | ".join(shown) + " |")
    return [*lines, ""]


def _caveat_lines(caveats: Sequence[str]) -> list[str]:
    return ["## Caveats", "", *(f"- {caveat}" for caveat in caveats), ""] if caveats else []


def _card_bins(entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Bins of a reliability diagram; entries of a training run say `confidence` and `n`."""
    return [
        {
            "mean_confidence": bin.get("mean_confidence", bin.get("confidence")),
            "accuracy": bin["accuracy"],
            "n_clips": bin.get("n_clips", bin.get("n")),
        }
        for bin in entry.get("reliability") or []
    ]


def _card_interval(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    low, high = _number(figure["low"], ".1f", 100), _number(figure["high"], ".1f", 100)
    return f"{_number(figure['value'], '.1f', 100)} ({low} to {high})"


def _number(value: float | None, style: str, factor: float = 1.0) -> str:
    """`value` for a reader; a figure that does not exist, null in JSON, is a dash."""
    return "-" if value is None or math.isnan(value) else format(factor * value, style)


# -- models side by side


def cross_corpus_matrix(evaluations: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table of models against the corpora they were scored on, from the JSON of their evaluations.

    Cells are the unweighted average recall among each corpus's own labels; a star marks a corpus that the model heard
    in training, a question mark one of which its card does not say.
    """
    corpora = sorted({group["name"] for evaluation in evaluations for group in evaluation["by_corpus"]})
    lines = ["| model, trained on | " + " | ".join(corpora) + " |", "| --- |" + " ---: |" * len(corpora)]
    for evaluation in evaluations:
        heard = evaluation["model"].get("corpora_heard")
        groups = {group["name"]: group for group in evaluation["by_corpus"]}
        cells = []
        for corpus in corpora:
            if corpus not in groups:
                cells.append("")
                continue
            mark = "?" if heard is None else "*" if corpus in heard else ""
            recall = groups[corpus]["restricted_unweighted_average_recall"]["value"]
            cells.append(f"{_number(recall, '.1f', 100)}{mark}")
        trained_on = ", ".join(heard) if heard else "not stated"
        lines.append(f"| {evaluation['model']['name']}, {trained_on} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


# -- drawing


_STYLE = f"""
:root {{ color-scheme: light; }}
body {{ margin: 0; background: #fff; color: {INK}; font: 16px/1.5 system-ui, sans-serif; }}
main {{ max-width: 1060px; margin: 0 auto; padding: 32px 24px 80px; }}
h1 {{ font-size: 30px; margin: 0 0 4px; }}
h2 {{ font-size: 21px; margin: 48px 0 12px; padding-top: 12px; border-top: 1px solid {LINE}; }}
p {{ max-width: 80ch; }}
.facts, .note {{ color: {MUTED}; font-size: 14px; }}
.protocol {{ background: #fff7ec; border-left: 4px solid {WARNING}; padding: 10px 14px; max-width: none; }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); gap: 12px; margin-top: 16px; }}
.tile {{ border: 1px solid {LINE}; border-radius: 8px; padding: 12px 14px; }}
.tile .label {{ font-size: 13px; color: {MUTED}; }}
.tile .value {{ font-size: 27px; font-weight: 650; font-variant-numeric: tabular-nums; }}
.tile .range {{ font-size: 14px; font-weight: 400; color: {MUTED}; }}
.tile .note {{ font-size: 13px; }}
.scroll {{ overflow-x: auto; margin: 12px 0; }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; width: 100%; }}
th, td {{ text-align: left; padding: 5px 14px 5px 0; border-bottom: 1px solid {LINE}; vertical-align: top; }}
th {{ font-weight: 600; color: {MUTED}; vertical-align: bottom; }}
td {{ white-space: nowrap; }}
td.long {{ white-space: normal; min-width: 180px; }}
summary {{ cursor: pointer; margin: 8px 0; }}
code {{ font-size: 13px; overflow-wrap: anywhere; }}
"""


def _section(title: str, body: str, protocol: str) -> str:
    return f"<section><h2>{title}</h2>{body}<p class='note'>Protocol: {_text(protocol)}.</p></section>"


def _note(text: str) -> str:
    return f"<p class='note'>{text}</p>"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td{' class=long' if len(cell) > 40 else ''}>{_text(cell)}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _plot(figure: go.Figure) -> str:
    return str(
        figure.to_html(full_html=False, include_plotlyjs=False, config={"displaylogo": False, "responsive": True})
    )


def _lay_out(figure: go.Figure, *, height: int, x_title: str = "", y_title: str = "") -> None:
    figure.update_layout(
        height=height,
        template="plotly_white",
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        margin={"l": 60, "r": 20, "t": 20, "b": 50},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis_title=x_title,
        yaxis_title=y_title,
        barmode="group",
    )


def _renamed(group: GroupScores, name: str) -> GroupScores:
    return replace(group, name=name)


def _percent(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} % <span class='range'>{100 * figure.low:.1f} to {100 * figure.high:.1f}</span>"


def _interval(figure: Figure) -> str:
    return f"{100 * figure.value:.1f} ({_range(figure)})"


def _range(figure: Figure) -> str:
    return f"{100 * figure.low:.1f} to {100 * figure.high:.1f}"


def _text(value: object) -> str:
    return html.escape(str(value))
