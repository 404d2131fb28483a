"""The project's shared tables, with what is so of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tables.audit_cases import Case, Reported

__all__ = ["shared"]


def shared(folder: Path) -> Iterator[Case]:
    """The project's shared tables, with what their notes, or a look at them, say is so."""
    for name, roles, said in _SHARED:
        yield Case(name, folder / f"{name}.parquet", roles, frozenset(said))


def _column(what: str, *columns: str) -> list[Reported]:
    return [(what, column) for column in columns]


_SHARED: list[tuple[str, dict[str, Any], list[Reported]]] = [
    (
        "omniglot_background",
        {"target": "character", "task": "alphabet", "group": "drawer"},
        _column("duplicate_content", "image"),
    ),
    ("omniglot_evaluation_a", {"target": "character", "task": "alphabet", "group": "drawer"}, []),
    (
        "omniglot_strokes",
        {"target": "character", "task": "alphabet", "group": "drawer", "split": "split"},
        [*_column("gives_label_away", "subset"), *_column("group_in_two_parts", "drawer")],
    ),
    ("digits", {"target": "digit"}, _column("label_noise", "digit")),  # a 7 called 4, a 2 called 8, …
    ("spoken_digits", {"target": "digit", "task": "speaker"}, []),
    ("av_digits", {"target": "digit", "group": "speaker"}, []),
    ("environmental_sounds", {"target": "label", "group": "freesound_id"}, []),
    ("emotional_speech", {"target": "emotion", "group": "speaker"}, []),
    (
        "emoji",
        {"target": "name", "task": "group", "group": "codepoints"},
        [
            *_column("duplicate_content", "image"),
            *_column("small_classes", "name"),
            *_column("gives_label_away", "keywords", "subgroup"),
            *_column("gives_label_away", "sentiment_negative", "sentiment_neutral", "sentiment_positive"),
        ],
    ),
    (
        "activity",
        {"target": "activity", "group": "subject"},
        [("constant", "dominant_hand"), ("missing_by_class", "watch"), ("imbalance", None)],
    ),
    (
        "opinion_sentiment",
        {"target": "sentiment", "group": "video_id"},
        [
            *_column("duplicate_content", "video", "text_embedding"),
            *_column("content_in_two_parts", "video"),
        ],
    ),
    ("speaker_traits", {"target": "confident"}, []),
    (
        "sarcasm",
        {"target": "sarcasm", "group": "show"},
        [("value_tells_label", "speaker")],
    ),
    (
        "chest_xray",
        {"target": "icu", "group": "patient"},
        [
            *_column("beyond_limits", "d_dimer"),
            *_column("value_tells_label", "projection", "dicom_modality"),
            *_column("gives_label_away", "icu_admission_offset", "icu_release_offset"),
            *_column("missing_by_class", "ldh", "lymphocytes", "death_offset"),
        ],
    ),
    ("sign_keypoints", {"target": "word"}, [("gives_label_away", "word_english")]),
    ("kg_wn18rr", {"target": "relation", "split": "split"}, [("imbalance", None)]),
    (
        "kg_umls",
        {"target": "relation", "split": "split"},
        [("small_classes", "relation"), ("imbalance", None)],
    ),
]
