"""Sketches: few numbers that keep how far recordings lie apart."""

import subprocess
import sys

import numpy as np

from core.inference.sketch import N_NUMBERS, sketch_of


def read(sketch):
    return np.frombuffer(sketch, "<f2").astype(np.float64)


def distances(vectors):
    return np.linalg.norm(vectors[:, None] - vectors[None], axis=2)[np.triu_indices(len(vectors), 1)]


def test_distances_stay_within_what_the_lemma_says():
    generator = np.random.default_rng(0)
    embeddings = generator.standard_normal((40, 2304), dtype=np.float32) * generator.uniform(0.5, 2, (40, 1))
    sketches = np.stack([read(sketch_of(each.astype(np.float32))) for each in embeddings])
    ratios = distances(sketches) / distances(embeddings)
    assert abs(ratios.mean() - 1) < 0.05
    assert ratios.std() < 1.3 / np.sqrt(2 * N_NUMBERS)


def test_sketch_is_small_and_the_same_in_every_process():
    said = "import numpy; from core.inference.sketch import sketch_of; print(sketch_of(numpy.ones(8, 'f')).hex())"
    here = sketch_of(np.ones(8, np.float32))
    assert len(here) == 2 * N_NUMBERS
    assert subprocess.check_output([sys.executable, "-c", said], text=True).strip() == here.hex()
