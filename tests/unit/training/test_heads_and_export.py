"""Heads learn, masks are inputs, and LiteRT gives what Keras gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from training.calibrate import fit_temperature, mean_probabilities, pass_logits
from training.export import LiteEncoder, NumberFormat, export_encoder, export_head
from training.head_weights import logits_of, read_head, write_head
from training.heads import (
    Embedder,
    HeadEpoch,
    HeadPlan,
    missing_emotions,
    pool,
    predict_logits,
    principal_axes,
    train_head,
)
from training.whisper import build_encoder

PLAN = HeadPlan(width=16, n_members=2, n_epochs=15, learning_rate=1e-2, batch_size=32)


def _clusters(n_clips: int = 200) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 8, n_clips)
    centres = generator.normal(0, 3, (8, 12))
    return (centres[labels] + generator.normal(0, 1, (n_clips, 12))).astype(np.float32), labels


def test_a_head_learns_what_can_be_told_apart() -> None:
    embeddings, labels = _clusters()
    head = train_head([embeddings, embeddings], labels, ["A"] * len(labels), plan=PLAN)
    assert (predict_logits(head, embeddings).argmax(axis=1) == labels).mean() > 0.95


def test_every_epoch_of_every_member_is_told() -> None:
    embeddings, labels = _clusters()
    told: list[HeadEpoch] = []
    train_head([embeddings], labels, ["A"] * len(labels), plan=replace(PLAN, n_epochs=4), record=told.append)
    assert [(one.member, one.epoch) for one in told] == [(m, e) for m in (1, 2) for e in (1, 2, 3, 4)]
    assert told[3].loss_nats < told[0].loss_nats


def test_passes_differ_and_their_seed_decides() -> None:
    embeddings, labels = _clusters()
    head = train_head([embeddings], labels, ["A"] * len(labels), plan=PLAN)
    first = pass_logits(head, embeddings[:5], dropout_rates=(0.2, 0.5), n_passes=3, seed=1)
    np.testing.assert_array_equal(
        first, pass_logits(head, embeddings[:5], dropout_rates=(0.2, 0.5), n_passes=3, seed=1)
    )
    assert first.shape == (3, 5, 8)
    assert np.abs(first[0] - first[1]).max() > 1e-3


def test_temperature_brings_confidence_to_accuracy() -> None:
    generator = np.random.default_rng(0)
    truth = generator.normal(0, 2, (4_000, 8))
    shares = np.exp(truth) / np.exp(truth).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(8, p=row) for row in shares])
    overconfident = (3 * truth).astype(np.float32)[None]
    temperature = fit_temperature(overconfident, labels)
    assert temperature == pytest.approx(3, abs=0.15)
    confidence = mean_probabilities(overconfident, temperature=temperature).max(axis=1).mean()
    assert confidence == pytest.approx((truth.argmax(axis=1) == labels).mean(), abs=0.02)


def test_an_emotion_that_a_corpus_lacks_is_found() -> None:
    missing = missing_emotions(["A", "A", "B"], np.array([0, 2, 7]))
    assert np.flatnonzero(missing["A"] == 0).tolist() == [0, 2]
    assert np.flatnonzero(missing["B"] == 0).tolist() == [7]


def test_pooling_is_mean_and_deviation_over_a_clip_without_its_padding() -> None:
    frames = np.random.default_rng(0).normal(0, 1, (1, 10, 4)).astype(np.float32)
    mask = np.array([[1] * 6 + [0] * 4], np.float32)
    pooled = pool([frames, frames], mask)
    expected = np.concatenate([frames[0, :6].mean(axis=0), frames[0, :6].std(axis=0)])
    np.testing.assert_allclose(pooled[0], expected, atol=1e-5)


def test_principal_axes_are_those_of_the_covariance() -> None:
    generator = np.random.default_rng(0)
    spread = np.array([9.0, 5.0, 3.0, *[0.1] * 57], np.float32)
    turned, _ = np.linalg.qr(generator.normal(0, 1, (60, 60)))
    clips = (generator.normal(0, 1, (500, 60)) * spread @ turned.T).astype(np.float32)
    components = clips @ principal_axes(clips, 3)
    covariance = components.T @ components / len(components)
    assert np.trace(covariance) == pytest.approx(3, rel=1e-3)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-3)
    largest = np.linalg.eigvalsh(np.cov(clips.T, bias=True))[::-1][:3]
    np.testing.assert_allclose(np.diag(covariance), 3 * largest / largest.sum(), rtol=0.02)


def test_a_head_learns_from_fewer_components() -> None:
    embeddings, labels = _clusters()
    axes = principal_axes(embeddings, 6)
    assert axes.shape == (12, 6)
    head = train_head([embeddings @ axes], labels, ["A"] * len(labels), plan=PLAN)
    assert (predict_logits(head, embeddings @ axes).argmax(axis=1) == labels).mean() > 0.9


def test_corpora_kept_apart_may_act_an_emotion_in_opposite_ways() -> None:
    generator = np.random.default_rng(0)
    labels, in_second = generator.integers(0, 2, 400), generator.integers(0, 2, 400)
    acted = np.where(in_second == 1, 1 - labels, labels)
    embeddings = generator.normal(0, 0.5, (400, 6)).astype(np.float32)
    embeddings[:, 0] += 4 * acted
    embeddings[:, 1] += 4 * in_second
    corpora = ["B" if second else "A" for second in in_second]
    head = train_head([embeddings], labels, corpora, plan=replace(PLAN, are_corpora_apart=True, mixup_alpha=0))
    assert head.logits.units == 2 * 8
    assert (predict_logits(head, embeddings).argmax(axis=1) == labels).mean() > 0.95


def test_head_with_corpora_apart_is_exported_with_one_logit_for_each_emotion(tmp_path: Path) -> None:
    embeddings, labels = _clusters()
    corpora = ["A", "B"] * (len(labels) // 2)
    head = train_head([embeddings], labels, corpora, plan=replace(PLAN, are_corpora_apart=True, n_epochs=2))
    export_head(head, tmp_path / "head.tflite", n_dims=12, number_format=NumberFormat.FLOAT32)
    serve = Interpreter(str(tmp_path / "head.tflite")).get_signature_runner()
    masks = np.ones((5, 12), np.float32), np.ones((5, 32), np.float32)
    given = serve(embedding=embeddings[:5], mask_0=masks[0], mask_1=masks[1])["logits"]
    assert given.shape == (5, 8)
    np.testing.assert_allclose(given, head(embeddings[:5], *masks), atol=1e-4)
    pairs = np.exp(head.group_logits(embeddings[:5], *masks).numpy()).reshape(5, 2, 8)
    np.testing.assert_allclose(np.exp(given), pairs.sum(axis=1), rtol=1e-3)


def test_head_with_corpora_apart_is_read_and_written_again_for_retraining(tmp_path: Path) -> None:
    embeddings, labels = _clusters()
    head = train_head(
        [embeddings], labels, ["A", "B"] * (len(labels) // 2), plan=replace(PLAN, are_corpora_apart=True, n_epochs=2)
    )
    export_head(head, tmp_path / "head.tflite", n_dims=12, number_format=NumberFormat.FLOAT16)
    weights = read_head(tmp_path / "head.tflite")
    assert weights.logits_bias.shape == (2, 8)
    np.testing.assert_allclose(logits_of(weights, embeddings), predict_logits(head, embeddings), atol=0.02)
    other = replace(weights, logits_bias=weights.logits_bias[::-1] + 1)
    written = write_head(tmp_path / "head.tflite", other, tmp_path / "child.tflite")
    np.testing.assert_allclose(written.logits_bias, other.logits_bias, atol=2e-3)
    np.testing.assert_allclose(logits_of(written, embeddings), logits_of(other, embeddings), atol=0.02)


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    encoder = build_encoder(1, width=128, n_heads=2)
    return Embedder(encoder, np.zeros(256, np.float32), np.ones(256, np.float32))


@pytest.mark.parametrize(("number_format", "tolerance"), [("float32", 1e-3), ("float16", 0.02), ("int8", 0.3)])
def test_litert_gives_what_keras_gives_at_any_length(
    embedder: Embedder, number_format: str, tolerance: float, tmp_path: Path
) -> None:
    export_encoder(embedder, tmp_path / "encoder.tflite", number_format=NumberFormat(number_format))
    lite = LiteEncoder(tmp_path / "encoder.tflite")
    for n_frames in (31, 120, 64):
        mel = np.random.default_rng(n_frames).normal(0, 0.4, (n_frames, 80)).astype(np.float32)
        np.testing.assert_allclose(lite.embed(mel), embedder(mel[None])[0], atol=tolerance)


def test_the_exported_head_takes_masks_for_many_passes_at_once(tmp_path: Path) -> None:
    embeddings, labels = _clusters()
    head = train_head([embeddings], labels, ["A"] * len(labels), plan=PLAN)
    export_head(head, tmp_path / "head.tflite", n_dims=12, number_format=NumberFormat.FLOAT32)
    serve = Interpreter(str(tmp_path / "head.tflite")).get_signature_runner()
    mask_0 = np.random.default_rng(0).integers(0, 2, (30, 12)).astype(np.float32)
    mask_1 = np.random.default_rng(1).integers(0, 2, (30, 32)).astype(np.float32) * 2
    repeated = np.repeat(embeddings[:1], 30, axis=0)
    given = serve(embedding=repeated, mask_0=mask_0, mask_1=mask_1)["logits"]
    np.testing.assert_allclose(given, head(repeated, mask_0, mask_1), atol=1e-4)
