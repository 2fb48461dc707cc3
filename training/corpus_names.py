"""What the published file names of each corpus say: speaker, sex, emotion, intensity, statement.

Sources: RAVDESS, Livingstone and Russo 2018, table 2; CREMA-D, Cao et al. 2014, and its `VideoDemographics.csv`; TESS,
Pichora-Fuller and Dupuis 2020; SAVEE, Haq and Jackson 2010; nEMO, Christop 2024.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from core.domain import Emotion


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedRecording:
    """What a file's name says of the recording in it."""

    corpus: str
    speaker: str
    sex: str
    language: str
    emotion: Emotion
    intensity: str
    statement: str
    licence: str


LICENCES = {
    "RAVDESS": "CC BY-NC-SA 4.0",
    "CREMA-D": "ODbL 1.0",
    "TESS": "CC BY-NC-ND 4.0",
    "SAVEE": "research only",
    "nEMO": "CC BY-NC-SA 4.0",
}

_RAVDESS = re.compile(r"(\d\d)-(\d\d)-(0[1-8])-(0[12])-(0[12])-(0[12])-([01]\d|2[0-4])")
_RAVDESS_EMOTIONS = tuple(Emotion)
"""RAVDESS numbers the eight emotions in the order of `Emotion`."""
_CREMA_D = re.compile(r"(10\d\d)_([A-Z]{3})_(ANG|DIS|FEA|HAP|NEU|SAD)_(XX|X|LO|MD|HI)")
_CREMA_D_EMOTIONS = {
    "ANG": Emotion.ANGRY,
    "DIS": Emotion.DISGUST,
    "FEA": Emotion.FEARFUL,
    "HAP": Emotion.HAPPY,
    "NEU": Emotion.NEUTRAL,
    "SAD": Emotion.SAD,
}
# fmt: off
_CREMA_D_WOMEN = frozenset({
    1002, 1003, 1004, 1006, 1007, 1008, 1009, 1010, 1012, 1013, 1018, 1020, 1021, 1024, 1025, 1028, 1029, 1030, 1037,
    1043, 1046, 1047, 1049, 1052, 1053, 1054, 1055, 1056, 1058, 1060, 1061, 1063, 1072, 1073, 1074, 1075, 1076, 1078,
    1079, 1082, 1084, 1089, 1091,
})
# fmt: on
_CREMA_D_ACTORS = range(1001, 1092)
# The published OA_bite_neutral.wav lacks the F of its actress.
_TESS = re.compile(r"(OAF?|YAF)_([a-z]+)_(angry|disgust|fear|happy|neutral|ps|sad)")
_TESS_EMOTIONS = {
    "angry": Emotion.ANGRY,
    "disgust": Emotion.DISGUST,
    "fear": Emotion.FEARFUL,
    "happy": Emotion.HAPPY,
    "neutral": Emotion.NEUTRAL,
    "ps": Emotion.SURPRISED,
    "sad": Emotion.SAD,
}
_SAVEE = re.compile(r"(DC|JE|JK|KL)[_/]((a|d|f|h|n|sa|su)\d\d)")
_SAVEE_EMOTIONS = {
    "a": Emotion.ANGRY,
    "d": Emotion.DISGUST,
    "f": Emotion.FEARFUL,
    "h": Emotion.HAPPY,
    "n": Emotion.NEUTRAL,
    "sa": Emotion.SAD,
    "su": Emotion.SURPRISED,
}
_NEMO = re.compile(r"([A-Z]{2}\d)_(anger|fear|happiness|neutral|sadness|surprised)_(\d+)")
_NEMO_EMOTIONS = {
    "anger": Emotion.ANGRY,
    "fear": Emotion.FEARFUL,
    "happiness": Emotion.HAPPY,
    "neutral": Emotion.NEUTRAL,
    "sadness": Emotion.SAD,
    "surprised": Emotion.SURPRISED,
}


def recognise_name(path: PurePosixPath) -> NamedRecording | str:
    """What the name of a recording says, or in a plain sentence why it says nothing usable.

    Parameters
    ----------
    path
        Relative path; the folder counts for SAVEE, whose publisher hands out `DC/a01.wav`.

    Examples
    --------
    >>> recognise_name(PurePosixPath("Actor_12/03-01-06-02-02-01-12.wav")).emotion
    <Emotion.FEARFUL: 'fearful'>
    >>> recognise_name(PurePosixPath("holiday.wav"))
    'the name is that of no known corpus (RAVDESS, CREMA-D, TESS, SAVEE, nEMO)'
    """
    stem = path.stem
    if match := _RAVDESS.fullmatch(stem):
        return _ravdess(match)
    if match := _CREMA_D.fullmatch(stem):
        return _crema_d(match)
    if match := _TESS.fullmatch(stem):
        actress = match[1] if match[1].endswith("F") else match[1] + "F"
        return _named("TESS", actress, "female", _TESS_EMOTIONS[match[3]], statement=match[2])
    if match := _SAVEE.fullmatch(stem) or _SAVEE.fullmatch(f"{path.parent.name}/{stem}"):
        return _named("SAVEE", match[1], "male", _SAVEE_EMOTIONS[match[3]], statement=match[2])
    if match := _NEMO.fullmatch(stem):
        return _named("nEMO", match[1], "", _NEMO_EMOTIONS[match[2]], statement=match[3], language="pl")
    return f"the name is that of no known corpus ({', '.join(LICENCES)})"


def _ravdess(match: re.Match[str]) -> NamedRecording | str:
    modality, channel, emotion, intensity, statement, repetition, actor = match.groups()
    if actor == "00":
        return "RAVDESS has actors 01 to 24, not 00"
    if modality != "03":
        return "RAVDESS video, not an audio-only recording"
    if channel != "01":
        return "RAVDESS song, not speech"
    return _named(
        "RAVDESS",
        actor,
        "male" if int(actor) % 2 else "female",
        _RAVDESS_EMOTIONS[int(emotion) - 1],
        intensity={"01": "normal", "02": "strong"}[intensity],
        statement=f"s{statement}r{repetition}",
    )


def _crema_d(match: re.Match[str]) -> NamedRecording | str:
    actor, statement, emotion, intensity = match.groups()
    if int(actor) not in _CREMA_D_ACTORS:
        return f"CREMA-D has actors 1001 to 1091, not {actor}"
    sex = "female" if int(actor) in _CREMA_D_WOMEN else "male"
    # The published 1040_ITH_SAD_X.wav lacks the second X.
    intensity = "XX" if intensity == "X" else intensity
    return _named("CREMA-D", actor, sex, _CREMA_D_EMOTIONS[emotion], intensity=intensity, statement=statement)


def _named(
    corpus: str,
    speaker: str,
    sex: str,
    emotion: Emotion,
    *,
    statement: str,
    intensity: str = "",
    language: str = "en",
) -> NamedRecording:
    return NamedRecording(
        corpus=corpus,
        speaker=f"{corpus}-{speaker}",
        sex=sex,
        language=language,
        emotion=emotion,
        intensity=intensity,
        statement=statement,
        licence=LICENCES[corpus],
    )
