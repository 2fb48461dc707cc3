"""The versions of Models: a table of all, and one of them in full with what an admin can do with it."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from core.access.roles import is_admin
from core.domain import Caller, ModelCard, own_labels
from core.evaluation.gate import Comparison
from core.inference.model_scores import Measured, read_model_scores
from core.models.models import Standing
from core.models.versions import CustomTrained, ModelVersion, Retrained, card_json
from core.store.models import ModelEvent, ModelEventKind
from core.workbench import Workbench
from pages.parts import model_charts, refusals, session, words

EVENTS = {
    ModelEventKind.DEPLOYED: "deployed",
    ModelEventKind.ROLLED_BACK: "rolled back to",
    ModelEventKind.SHADOWED: "in the shadow",
    ModelEventKind.UNSHADOWED: "no longer in the shadow",
}
N_EVENTS = 20


def draw(workbench: Workbench, caller: Caller) -> None:
    """All versions, the deployed one first; then the one that was chosen."""
    versions, problems = workbench.models.list_versions()
    standing = workbench.models.standing
    for problem in problems:
        st.warning(str(problem), icon=":material/warning:")
    if not versions:
        st.info("There is no model yet. Make the ones that come with Telepathy: `make model`.")
        return
    ordered = sorted(versions, key=lambda version: version.card.name != standing.deployed)
    _draw_standing(workbench, caller, standing)
    st.dataframe(
        versions_frame(ordered, standing),
        hide_index=True,
        key="models_table",
        row_height=38,
        column_config={
            "Made": st.column_config.DateColumn(format="YYYY-MM-DD"),
            "Size": st.column_config.NumberColumn(format="bytes"),
        },
        alt="Model versions",
    )
    names = [version.card.name for version in ordered]
    chosen = st.selectbox("Look at", names, key="models_chosen", width=360)
    _draw_version(workbench, caller, next(one for one in ordered if one.card.name == chosen), standing)
    _draw_history(workbench.models.history())


def versions_frame(versions: list[ModelVersion], standing: Standing) -> pd.DataFrame:
    """Columns Model, State, Made from, Gate, Made, Size (bytes), Commercial use."""
    return pd.DataFrame(
        [
            (
                version.card.name,
                state_of(version.card, standing),
                _origin(version),
                _verdict(version.retrained),
                version.card.created_at.date(),
                version.card.size_bytes,
                "allowed" if version.card.is_commercial_use_allowed else "not allowed",
            )
            for version in versions
        ],
        columns=["Model", "State", "Made from", "Gate", "Made", "Size", "Commercial use"],
    )


def state_of(card: ModelCard, standing: Standing) -> str:
    """What a model does at the moment, in two words at most."""
    if card.name == standing.deployed:
        return "answers"
    if card.name == standing.shadow:
        return "in the shadow"
    return "at hand" if card.is_installed else "not installed"


def _origin(version: ModelVersion) -> str:
    if version.retrained is not None:
        return version.retrained.parent_name
    if version.trained is not None:
        return version.trained.data_set
    return "comes with Telepathy" if version.is_shipped else "made elsewhere"


def _verdict(made: Retrained | None) -> str:
    if made is None:
        return "—"
    return "passed" if made.gate.is_passed else "not passed"


def _draw_standing(workbench: Workbench, caller: Caller, standing: Standing) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="models_standing"):
        listening = f" **{standing.shadow}** listens in the shadow." if standing.shadow else ""
        st.markdown(f"**{standing.deployed}** answers whoever names no model.{listening}", anchors=False)
        if not is_admin(caller):
            return
        if standing.shadow and st.button("End the shadow", key="models_end_shadow"):
            workbench.models.end_shadow(by=caller)
            st.rerun()
        if standing.before and st.button(
            f"Roll back to {standing.before[-1]}", key="models_roll_back", icon=":material/undo:"
        ):
            with refusals.told():
                workbench.models.roll_back(by=caller)
                st.rerun()


def _draw_version(workbench: Workbench, caller: Caller, version: ModelVersion, standing: Standing) -> None:
    card, made = version.card, version.retrained
    with st.container(border=True, key="models_version"):
        st.subheader(card.name, anchor=False)
        st.markdown(words.plain(card.description), anchors=False)
        st.caption(f"Version {card.version} · {words.plain(card.licence)}")
        if own_labels(card.emotions) and card.name != standing.deployed:
            st.caption(
                f"It says {words.plain(', '.join(card.emotions))}. As these are no labels of {standing.deployed}, "
                f"it answers whoever names it: on Analyse, or with `model={card.name}`."
            )
        elif is_admin(caller) and card.name != standing.deployed:
            _draw_actions(workbench, caller, version, standing)
        elif card.name != standing.deployed:
            st.caption("Admins deploy models and let them listen in the shadow.")
        if made is not None:
            _draw_retrained(made)
        if version.trained is not None:
            _draw_trained(card, version.trained)
        _draw_scores(version)
        _draw_shadow(workbench, version, standing)
        _draw_card(version)


def _draw_actions(workbench: Workbench, caller: Caller, version: ModelVersion, standing: Standing) -> None:
    name = version.card.name
    obstacle = workbench.models.obstacle(version)
    reason = ""
    if obstacle:
        st.warning(f"The gate does not let it pass: {obstacle}.", icon=":material/gpp_maybe:")
        reason = st.text_input(
            "Why it is deployed all the same", key=f"models_reason_{name}", max_chars=500, help="Kept in the audit log."
        )
    with st.container(horizontal=True, key="models_actions"):
        label = "Deploy all the same" if obstacle else "Deploy"
        is_ready = version.card.is_installed and (not obstacle or bool(reason.strip()))
        kind = "secondary" if obstacle else "primary"
        if st.button(label, key=f"models_deploy_{name}", type=kind, disabled=not is_ready):
            with refusals.told():
                workbench.models.deploy(name, by=caller, reason=reason)
                st.rerun()
        if name != standing.shadow and st.button(
            "Listen in the shadow",
            key=f"models_shadow_{name}",
            disabled=not version.card.is_installed,
            help="It judges what the deployed model answers, and nobody is told; compare both here.",
        ):
            with refusals.told():
                workbench.models.start_shadow(name, by=caller)
                st.rerun()


def _draw_retrained(made: Retrained) -> None:
    st.markdown("##### How it was made", anchors=False)
    by = f" by {words.plain(made.author)}" if made.author else ""
    st.markdown(
        f"From {made.parent}{by}, with {made.n_corrections:,} corrections ({words.plain(made.source)}), "
        f"{made.n_epochs} rounds.",
        anchors=False,
    )
    icon = ":material/verified:" if made.gate.is_passed else ":material/gpp_maybe:"
    st.markdown(f"{icon} {made.gate.sentence}", anchors=False)
    gate, curve = st.columns(2, gap="large")
    with gate:
        st.plotly_chart(model_charts.gate(made.gate), key="models_gate", config={"displayModeBar": False})
        st.caption(
            f"Change from {made.parent_name} with its 95 % interval (paired bootstrap). "
            f"{_compared('Test speakers', made.gate.test, 'recall')} "
            f"{_compared('Corrections', made.gate.corrections, 'accuracy')}"
        )
    with curve:
        if made.rounds:
            st.plotly_chart(model_charts.curve(made.rounds), key="models_curve", config={"displayModeBar": False})
            st.caption("While it learnt from all corrections: those it learns from, and speakers it does not.")


def _draw_trained(card: ModelCard, made: CustomTrained) -> None:
    st.markdown("##### How it was made", anchors=False)
    by = f" by {words.plain(made.author)}" if made.author else ""
    speakers = f" of {words.count(made.n_speakers, 'speaker')}" if made.n_speakers else ""
    how = f"heard through {made.parent}" if made.parent else f"a {made.network} network from random weights"
    st.markdown(
        f"From the data set {words.plain(made.data_set)}{by}: {words.count(made.n_clips, 'clip')}{speakers}, "
        f"{made.n_epochs} rounds, {how}.",
        anchors=False,
    )
    said, curve = st.columns(2, gap="large")
    with said:
        st.plotly_chart(
            model_charts.confusion(list(card.emotions), made.confusion),
            key="models_confusion",
            config={"displayModeBar": False},
        )
        st.caption("Clips that were judged: their labels, and what it said.")
    with curve:
        if made.rounds:
            st.plotly_chart(
                model_charts.custom_curve(made.rounds), key="models_own_curve", config={"displayModeBar": False}
            )
            st.caption("While it learnt: the clips it learns from, and validation clips it does not.")


def _compared(name: str, comparison: Comparison, figure: str) -> str:
    if math.isnan(comparison.difference):
        return f"{name}: none at hand."
    before, after = 100 * comparison.champion, 100 * comparison.challenger
    return (
        f"{name}: {figure} from {before:.1f}\xa0% to {after:.1f}\xa0% over {comparison.n_clips:,} clips, "
        f"{100 * comparison.difference:+z.1f} points ({model_charts.interval(comparison)})."
    )


def _draw_scores(version: ModelVersion) -> None:
    scores = read_model_scores(version.folder)
    if not scores.scores:
        return
    st.markdown("##### Scores", anchors=False)
    st.table(
        pd.DataFrame(
            [
                (
                    score.title,
                    f"{score.n_recordings:,}",
                    _percent(score.accuracy),
                    _percent(score.unweighted_average_recall),
                )
                for score in scores.scores
            ],
            columns=["Judged on", "Recordings", "Accuracy", "Mean recall"],
        ).set_index("Judged on"),
    )
    by_protocol: dict[str, list[str]] = {}
    for score in scores.scores:
        by_protocol.setdefault(score.protocol, []).append(f"**{words.plain(score.title)}**")
    for protocol, titles in by_protocol.items():
        st.caption(f"{', '.join(titles)}: {words.plain(protocol)}.")
    if scores.protocol:
        st.caption(words.plain(scores.protocol))


def _percent(measured: Measured) -> str:
    if math.isnan(measured.value):
        return "—"
    return f"{100 * measured.value:.1f}\xa0% ({100 * measured.low:.1f} to {100 * measured.high:.1f})"


def _draw_shadow(workbench: Workbench, version: ModelVersion, standing: Standing) -> None:
    if version.card.name == standing.deployed:
        return
    counts = workbench.models.compare_shadow(version.card.version)
    n_answers = sum(count.n_answers for count in counts)
    if not n_answers:
        if version.card.name == standing.shadow:
            st.caption("It listens. Nothing was asked since it began.")
        return
    n_same = sum(count.n_answers for count in counts if count.champion_emotion == count.shadow_emotion)
    champion = sum(count.champion_confidence * count.n_answers for count in counts) / n_answers
    shadow = sum(count.shadow_confidence * count.n_answers for count in counts) / n_answers
    st.markdown("##### In the shadow", anchors=False)
    st.markdown(
        f"Of {n_answers:,} recordings that **{standing.deployed}** answered, it said the same of "
        f"{100 * n_same / n_answers:.0f}\xa0%. "
        f"Mean confidence {100 * shadow:.0f}\xa0%, where {standing.deployed} had {100 * champion:.0f}\xa0%.",
        anchors=False,
    )
    st.plotly_chart(
        model_charts.shadow(counts, champion=standing.deployed, shadow=version.card.name),
        key="models_shadow_chart",
        config={"displayModeBar": False},
    )


def _draw_card(version: ModelVersion) -> None:
    """What it learnt from and how, what to bear in mind, and the whole card to take away."""
    with st.expander("Data, settings and caveats", key="models_card"):
        if version.corpora:
            st.table(corpora_frame(version), hide_index=True)
        if version.retrained is not None:
            n = words.count(version.retrained.n_corrections, "correction")
            st.markdown(f"And {n}: {words.plain(version.retrained.source)}.", anchors=False)
        if version.trained is not None:
            labels = ", ".join(f"{label} {n:,}" for label, n in version.trained.labels.items())
            st.markdown(f"Data set {words.plain(version.trained.data_set)}: {words.plain(labels)}.", anchors=False)
        if version.settings:
            said = "; ".join(f"{setting_words(name)} {value}" for name, value in version.settings.items() if value)
            st.markdown(f"Settings: {words.plain(said)}.", anchors=False)
        for caveat in read_model_scores(version.folder).caveats:
            st.markdown(f"- {words.plain(caveat)}", anchors=False)
        st.download_button(
            "The whole card (JSON)",
            card_json(version),
            file_name=f"{version.card.version}.json",
            mime="application/json",
            key=f"models_card_file_{version.card.name}",
            on_click="ignore",
        )


def corpora_frame(version: ModelVersion) -> pd.DataFrame:
    """Columns Learnt from, with its licence, Recordings, Speakers, Hours; for a table that reads markdown.

    A fifth column would lie beyond the edge of a phone.
    """
    rows = [
        (
            words.plain(f"{each.name} ({each.licence})"),
            f"{each.n_recordings:,}",
            f"{each.n_speakers:,}",
            f"{each.hours:.1f}",
        )
        for each in version.corpora
    ]
    return pd.DataFrame(rows, columns=["Learnt from", "Recordings", "Speakers", "Hours"])


def setting_words(name: str) -> str:
    """
    >>> setting_words("n_epochs"), setting_words("learning_rate"), setting_words("is_masked_by_corpus")
    ('rounds', 'learning rate', 'masked by corpus')
    """
    if name == "n_epochs":
        return "rounds"
    return name.removeprefix("n_").removeprefix("is_").removeprefix("are_").replace("_", " ")


def _draw_history(events: list[ModelEvent]) -> None:
    if not events:
        return
    with st.expander("What happened so far", key="models_history"):
        for event in events[:N_EVENTS]:
            reason = f" Because: {words.plain(event.reason)}" if event.reason else ""
            st.markdown(
                f"{words.when(event.happened_at, session.zone())} · {words.plain(event.actor)} · "
                f"{EVENTS[event.event]} **{event.model}**.{reason}",
                anchors=False,
            )
