"""What `evaluate` measured, on a console of 100 columns: every table with its protocol below it."""

from __future__ import annotations

import math
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from training.scores import Evaluation, Figure, GroupScores

N_WORST_SPEAKERS = 5


def print_scores(evaluation: Evaluation, console: Console) -> None:
    """Print scores by group, the worst speakers, doubt, losses under disturbances and, where known, the listeners."""
    _print_groups(evaluation, console)
    if evaluation.by_speaker:
        _print_worst_speakers(evaluation, console)
    _print_doubt(evaluation, console)
    if evaluation.robustness:
        _print_robustness(evaluation, console)
    if evaluation.human is not None:
        _print_listeners(evaluation, console)


def _print_groups(evaluation: Evaluation, console: Console) -> None:
    groups = (
        evaluation.pooled,
        *evaluation.by_corpus,
        *(replace(group, name=f"language: {group.name}") for group in evaluation.by_language),
        *(replace(group, name=f"sex: {group.name}") for group in evaluation.by_sex),
    )
    columns = ("recordings of", "n", "accuracy", "UAR", "macro\nF1", "own\nlabels", "major-\nity", "ran-\ndom", "ECE")
    table = _table(*columns)
    for group in groups:
        table.add_row(
            group.name,
            f"{group.n_recordings:,}",
            _ranged(group.accuracy),
            _ranged(group.unweighted_average_recall),
            _percent(group.macro_f1.value),
            _percent(group.restricted_accuracy.value),
            _percent(group.majority_accuracy),
            _percent(group.random_accuracy),
            _plain(group.expected_calibration_error),
        )
    _show(console, table)
    _say(console, f"Protocol: {evaluation.protocol}")
    for knowledge, names in _other_knowledge(groups, asked=_asked(evaluation)).items():
        _say(console, f"  for {'; '.join(names)}, otherwise alike: {knowledge}")
    _say(
        console,
        "Percent, with 95 % bootstrap intervals over clips. Own labels: accuracy among the labels of each recording's "
        "corpus. Majority, random: accuracy of these baselines. ECE: 15 bins of equal width.",
    )


def _print_worst_speakers(evaluation: Evaluation, console: Console) -> None:
    table = _table("lowest accuracy: speaker", "n", "accuracy", "UAR", "sex", "in training")
    for one in evaluation.by_speaker[:N_WORST_SPEAKERS]:
        accuracy, recall = _percent(one.accuracy), _percent(one.unweighted_average_recall)
        table.add_row(
            one.speaker, f"{one.n_recordings:,}", accuracy, recall, one.sex or "not stated", str(one.exposure)
        )
    _show(console, table)
    shown = min(N_WORST_SPEAKERS, len(evaluation.by_speaker))
    _say(
        console,
        f"Protocol: asked as above; the {shown} lowest of {len(evaluation.by_speaker)} speakers, chosen by these very "
        "recordings: a speaker with few of them may look worse than in truth.",
    )


def _print_doubt(evaluation: Evaluation, console: Console) -> None:
    coverages = list(evaluation.ranking[0].accuracies_at_coverages)
    table = _table("surest answers by", "AUROC of errors", "AURC", *(f"{coverage} %" for coverage in coverages))
    for one in evaluation.ranking:
        auroc = one.error_ranking_auroc
        table.add_row(
            one.measure,
            f"{_plain(auroc.value)} ({_plain(auroc.low)}\N{EN DASH}{_plain(auroc.high)})",
            _plain(one.area_under_risk_coverage_curve),
            *(_percent(one.accuracies_at_coverages[coverage]) for coverage in coverages),
        )
    _show(console, table)
    _say(console, f"Protocol: {_in_short(evaluation.ranking[0].protocol, evaluation)}")
    _say(console, "Columns 100 to 50 %: accuracy in percent on that share of the recordings, the surest ones.")
    _say(console, evaluation.ranking_verdict)


def _print_robustness(evaluation: Evaluation, console: Console) -> None:
    table = _table("disturbance", "n", "accuracy", "points lost", "UAR", "ECE", "refused")
    for one in evaluation.robustness:
        lost = one.accuracy_lost
        table.add_row(
            one.disturbance,
            f"{one.n_recordings:,}",
            _ranged(one.accuracy),
            f"{_percent(lost.value)} ({_percent(lost.low)} to {_percent(lost.high)})",
            _percent(one.unweighted_average_recall),
            _plain(one.expected_calibration_error),
            str(one.n_refused),
        )
    _show(console, table)
    _say(console, f"Protocol: {_in_short(evaluation.robustness[0].protocol, evaluation)}")
    _say(console, "Points lost: clean less disturbed, paired on the same recordings, with 95 % bootstrap intervals.")


def _print_listeners(evaluation: Evaluation, console: Console) -> None:
    human = evaluation.human
    assert human is not None
    table = _table("who names the acted emotion of CREMA-D by the voice alone", "n", "accuracy")
    n = f"{human.n_recordings:,}"
    table.add_row("plurality of listeners, a tie is wrong", n, _percent(human.plurality_accuracy))
    table.add_row(
        "plurality of listeners, a tie that holds it is right", n, _percent(human.plurality_accuracy_with_ties)
    )
    published = _percent(human.single_listener_accuracy_published)
    table.add_row("a single listener, as published (Cao et al. 2014)", "7,442", published)
    table.add_row("this model", n, _percent(human.model_accuracy))
    _show(console, table)
    _say(console, f"Protocol: {human.protocol}; the model asked as above")
    _say(
        console,
        f"Model and plurality agree on {_percent(human.model_agreement_with_plurality)} % of the recordings without a "
        "tie.",
    )


def _asked(evaluation: Evaluation) -> str:
    """How the model was asked: the protocol without what the model knew."""
    return evaluation.protocol.partition("; ")[2]


def _in_short(protocol: str, evaluation: Evaluation) -> str:
    """`protocol` without repeating what stands below the first table."""
    if protocol == evaluation.protocol:
        return "as of all recordings above"
    asked = _asked(evaluation)
    return f"{protocol.removesuffix(asked)}the recordings above, asked alike" if protocol.endswith(asked) else protocol


def _other_knowledge(groups: tuple[GroupScores, ...], *, asked: str) -> dict[str, list[str]]:
    """Names of the groups of which the model knew another thing than of all together, by what it knew."""
    found: dict[str, list[str]] = {}
    for group in groups[1:]:
        if group.protocol != groups[0].protocol:
            found.setdefault(group.protocol.removesuffix(f"; {asked}"), []).append(group.name)
    return found


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column(first, overflow="fold")
    for other in others:
        is_text = other in ("sex", "in training")
        table.add_column(other, justify="left" if is_text else "right", no_wrap=not is_text)
    return table


def _show(console: Console, table: Table) -> None:
    console.print()
    console.print(table)


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False)


def _ranged(figure: Figure) -> str:
    return f"{_percent(figure.value)} ({_percent(figure.low)}\N{EN DASH}{_percent(figure.high)})"


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def _plain(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"
