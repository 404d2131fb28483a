"""Audio: whole sounds only, any rate and loudness, and mel pictures that agree with others'."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

import media
from metamodal.data.dataset import read_table
from metamodal.data.features.encode import Preprocessor, read_cells
from metamodal.data.modalities import Audio
from metamodal.data.modalities.mel import mel_filters, mel_power, resampled
from metamodal.data.modalities.protocol import CellError
from metamodal.data.modalities.sound import Sound
from metamodal.data.tables.forms import form

BASE = Path(__file__).parent
RNG = np.random.default_rng(0)


def read(cell) -> Sound:
    return Audio.read(cell, BASE)


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("WAV", "PCM_16", 1e-4),
        ("WAV", "PCM_U8", 1e-2),
        ("WAV", "PCM_24", 1e-6),
        ("WAV", "FLOAT", 1e-7),
        ("FLAC", "PCM_16", 1e-4),
        ("OGG", "VORBIS", 0.1),
        ("MP3", None, 0.1),
        ("AIFF", "PCM_16", 1e-4),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_reads_to_its_samples(name: str, subtype: str | None, tolerance: float, channels: int):
    wave = media.tone(440, 0.5)
    data = media.sound(np.stack([wave] * channels, 1), 8000, name, subtype)
    found = read(data)
    assert form(data) == "audio"
    assert found.rate == 8000
    assert found.samples.dtype == np.float32
    assert np.abs(found.samples[: len(wave)] - wave[: len(found.samples)]).max() < tolerance


@pytest.mark.parametrize(("old", "new"), [(8000, 16_000), (44_100, 16_000), (48_000, 8000), (22_050, 22_050)])
def test_resampling_is_scipy_s(old: int, new: int):
    wave = RNG.normal(size=old // 4).astype(np.float32)
    ours = resampled(wave, old, new)
    assert np.allclose(ours, scipy.signal.resample_poly(wave, new, old), atol=1e-5)


def test_an_odd_rate_is_resampled_to_the_same_tone():
    odd = resampled(media.tone(500, 1.0, 15_991).astype(np.float32), 15_991, 8000)
    assert abs(len(odd) - 8000) < 3
    assert np.abs(np.fft.rfft(odd)).argmax() == 500


@pytest.mark.parametrize(("rate", "window", "count"), [(8000, 256, 48), (16_000, 512, 40), (22_050, 706, 64)])
def test_mel_power_is_that_of_transformers(rate: int, window: int, count: int):
    theirs = pytest.importorskip("transformers.audio_utils")
    bank = theirs.mel_filter_bank(
        window // 2 + 1, count, 0.0, rate / 2, rate, norm="slaney", mel_scale="slaney"
    )
    np.testing.assert_allclose(mel_filters(rate, window, count).numpy(), bank.T, atol=1e-8)
    wave = RNG.normal(size=rate).astype(np.float32)
    hann = theirs.window_function(window, "hann")
    hop = rate // 100
    expected = theirs.spectrogram(wave, hann, window, hop, fft_length=window, power=2.0, mel_filters=bank)
    found = mel_power(torch.from_numpy(wave)[None], rate, window, hop, count)[0].numpy()
    np.testing.assert_allclose(np.log(found + 1e-9), np.log(expected + 1e-9), atol=1e-4)


def test_mel_power_is_that_of_a_loop_in_numpy():
    rate, window, hop, count = 8000, 256, 80, 20
    wave = RNG.normal(size=2000)
    padded = np.pad(wave, window // 2, mode="reflect")
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    frames = [padded[i : i + window] * hann for i in range(0, len(padded) - window + 1, hop)]
    power = np.abs(np.fft.rfft(frames)) ** 2
    expected = mel_filters(rate, window, count).numpy() @ power.T
    found = mel_power(torch.from_numpy(wave).float()[None], rate, window, hop, count)[0].numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def truncated(name: str, subtype: str | None = None) -> tuple[bytes, bytes]:
    data = media.sound(media.tone(300, 1.0), 8000, name, subtype)
    return data, data[: len(data) * 2 // 3]


@pytest.mark.parametrize("name", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_a_sound_that_is_cut_short_is_refused(name: str):
    whole, part = truncated(name)
    assert len(read(whole).samples) >= 8000
    for data in (part, whole[:-1]):
        with pytest.raises(CellError, match="cut short|not a readable sound"):
            read(data)


def test_a_sound_cut_short_says_how_much_is_there():
    with pytest.raises(
        CellError, match=r"^the sound is cut short: \d+ of 16000 bytes are there. Replace the"
    ):
        read(truncated("WAV")[1])


def test_an_ogg_without_its_last_page_is_refused():
    data = media.sound(media.tone(300, 4.0), 8000, "OGG")
    with pytest.raises(CellError, match="cut short"):
        read(data[: data.rfind(b"OggS")])


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0])
def test_a_streamed_wav_that_does_not_know_its_size_is_read(size: int):
    data = bytearray(media.sound(media.tone(300, 0.5)))
    data[4:8] = data[40:44] = size.to_bytes(4, "little")
    if size:
        assert len(read(bytes(data)).samples) == 4000
    else:
        with pytest.raises(CellError, match="no samples"):
            read(bytes(data))


def test_a_wav_without_samples_is_refused():
    with pytest.raises(CellError, match="the sound has no samples. Replace the cell or leave it empty"):
        read(media.sound(np.zeros(0)))


def test_an_hour_in_a_few_bytes_is_refused_before_it_is_decoded(monkeypatch):
    data = media.sound(np.zeros(1000 * 1800), 1000, "FLAC")
    assert len(data) < 60_000
    monkeypatch.setattr(soundfile.SoundFile, "read", lambda *a, **k: pytest.fail("decoded"))
    with pytest.raises(CellError, match="1800 s of sound are above the cap of 600 s. Cut it into parts"):
        read(data)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (media.sound(np.array([0.1, np.nan, 0.2]), subtype="FLOAT"), "sample 1 is nan"),
        ([0.0, float("inf")], "sample 1 is inf"),
        ({"array": [0.0], "sampling_rate": 3}, "a sampling rate of 3 Hz"),
        ({"array": [0.0], "sampling_rate": None}, "sampling_rate is None"),
        (["a"], "is no sound"),
        ([], "is no sound"),
        (np.zeros((3, 4, 5)), "is no sound"),
        (b"RIFF....WAVEjunk", "not a readable sound"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_bad_sound_says_what_is_wrong(cell, message: str):
    with pytest.raises(CellError, match=message):
        read(cell)


def test_samples_arrays_records_and_files_are_the_same_sound(tmp_path: Path):
    wave = np.round(media.tone(300) * 32_767).astype(np.int16)
    (tmp_path / "a.wav").write_bytes(media.sound(wave))
    cells = ["a.wav", media.sound(wave), wave, wave.tolist(), wave[:, None], np.stack([wave, wave])]
    cells += [{"array": wave, "sampling_rate": 8000}, media.npy(wave)]
    values = [Audio.read(cell, tmp_path) for cell in cells]
    audio = Audio.fit(values)
    assert audio.rate == 8000
    x = audio.tensor(values)
    torch.testing.assert_close(x, x[:1].expand_as(x), atol=1e-3, rtol=0)


def test_loudness_plays_no_part():
    wave = media.tone(300) + 0.01 * RNG.normal(size=3200)
    audio = Audio.fit([read(wave)])
    torch.testing.assert_close(
        audio.tensor([read(wave)]), audio.tensor([read(wave * 1e-3)]), atol=1e-3, rtol=0
    )


def test_silence_is_read():
    audio = Audio.fit([read(np.zeros(4000)), read(media.tone(300))])
    assert audio.tensor([read(np.zeros(10))]).isfinite().all()


def test_the_rate_is_the_most_common_one_and_the_length_covers_19_of_20_sounds():
    values = [Sound(RNG.normal(size=800 * (i % 10 + 1)).astype(np.float32), 8000) for i in range(40)]
    values += [Sound(RNG.normal(size=4410).astype(np.float32), 44_100)]
    audio = Audio.fit(values, rate=16_000, seconds=5.0)
    assert audio.rate == 8000
    assert audio.seconds == pytest.approx(1.0)
    assert Audio.fit(values, rate=4000, seconds=0.5).rate == 4000
    assert Audio.fit(values, rate=4000, seconds=0.5).seconds == 0.5
    assert Audio.fit([Sound(v.samples, None) for v in values], rate=11_025).rate == 11_025


def test_of_a_longer_sound_the_loudest_part_is_heard():
    wave = np.concatenate([np.zeros(8000), media.tone(600, 0.4), np.zeros(8000)])
    audio = Audio.fit([read(media.sound(media.tone(600, 0.4)))], rate=8000)
    long, short = audio.tensor(
        [read({"array": wave, "sampling_rate": 8000}), read(media.sound(media.tone(600)))]
    )
    assert (long - short).abs().mean() < 0.2
    assert long[1].all()


def test_frames_after_a_short_sound_are_marked():
    audio = Audio.fit([read(media.sound(media.tone(300, 1.0)))])
    x = audio.tensor([read(media.sound(media.tone(300, 0.3)))])[0]
    assert x[1].sum(1).unique().tolist() == [31.0]
    for varied in (audio.augment(x[None], torch.Generator().manual_seed(0)), audio.variant(x[None], 1)):
        assert set(varied[0, 1].unique().tolist()) == {0.0, 1.0}


def test_generic_features_tell_spoken_digits_apart_across_speakers(shared):
    data = read_table(shared / "spoken_digits.parquet", target="digit", use=["audio"])
    data = data.rows(np.arange(0, 2000, 5))
    cells = read_cells(data)
    fitted = Preprocessor.fit(cells)
    z = fitted.features(fitted.encode(cells)).inputs["audio"]
    labels, speakers = data.labels(), data.frame["speaker"].to_numpy()
    found = []
    for speaker in sorted(set(speakers)):
        own = speakers == speaker
        means = torch.stack([z[own & (labels == str(d))].mean(0) for d in range(10)])
        found.append((z[~own] @ means.T).argmax(1).numpy() == labels[~own].astype(int))
    assert np.concatenate(found).mean() > 0.4  # chance is 0.1


def test_a_stream_of_bytes_is_left_as_it_was():
    data = media.sound(media.tone(300))
    stream = io.BytesIO(data)
    read(stream.getbuffer())
    assert stream.getvalue() == data
