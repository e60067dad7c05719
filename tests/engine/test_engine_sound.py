import math
from array import array

import pytest

from oneiro.engine.espeak_process import resample
from oneiro.engine.listening import Ear
from oneiro.engine.sound import SoundFormat, loudness, wav
from oneiro.engine.speech import Speech, can_speak, silence

PCM = SoundFormat.of("pcm_16000")


def tone(seconds: float, rate: int = 16_000, volume: float = 0.3) -> bytes:
    count = int(seconds * rate)
    return array("h", [int(volume * 32_767 * math.sin(index * 0.2)) for index in range(count)]).tobytes()


def quiet(seconds: float, rate: int = 16_000) -> bytes:
    return bytes(2 * int(seconds * rate))


def test_mu_law_gives_back_what_it_was_given_within_its_step() -> None:
    fmt = SoundFormat.of("ulaw_8000")
    samples = array("h", [*range(-32_768, 32_767, 97), 0, 1, -1, 32_767])
    back = array("h")
    back.frombytes(fmt.decode(fmt.encode(samples.tobytes())))
    assert all(abs(a - b) <= max(8, abs(a) / 16) for a, b in zip(samples, back, strict=True))
    assert fmt.encode(bytes(2)) == b"\xff"


@pytest.mark.parametrize("wanted", [8_000, 16_000, 22_050, 44_100])
def test_resampling_keeps_the_length_in_seconds_and_the_loudness(wanted: int) -> None:
    samples = array("h")
    samples.frombytes(tone(0.5, 22_050))
    out = resample(samples, 22_050, wanted)
    assert len(out) / wanted == pytest.approx(0.5, abs=0.001)
    assert loudness(out.tobytes()) == pytest.approx(loudness(samples.tobytes()), rel=0.05)


def test_a_wav_file_says_how_long_it_is() -> None:
    data = wav(tone(0.1), 16_000)
    assert data[:4] == b"RIFF"
    assert int.from_bytes(data[40:44], "little") == len(data) - 44 == 3_200


@pytest.mark.parametrize("chunk", [512, 1_024, 8_000, 333])
@pytest.mark.parametrize("name", ["pcm_16000", "ulaw_8000"])
def test_an_utterance_begins_and_ends_whatever_the_size_of_the_pieces(name: str, chunk: int) -> None:
    fmt = SoundFormat.of(name)
    ear = Ear(fmt, "patient")
    wire = fmt.encode(
        quiet(1.0, fmt.rate) + tone(1.0, fmt.rate) + quiet(1.0, fmt.rate) + tone(0.5, fmt.rate) + quiet(2.0, fmt.rate)
    )
    changes = [change for start in range(0, len(wire), chunk) for change in ear.hear(wire[start : start + chunk])]
    began, utterance = changes
    assert began == "began"
    assert isinstance(utterance, bytes)
    assert 4.0 <= len(utterance) / 2 / fmt.rate <= 4.8


def test_an_eager_ear_hears_two_utterances_where_a_patient_one_hears_one() -> None:
    ear = Ear(PCM, "eager")
    changes = ear.hear(tone(1.0) + quiet(1.0) + tone(0.5) + quiet(2.0))
    assert [change if isinstance(change, str) else "utterance" for change in changes] == [
        "began",
        "utterance",
        "began",
        "utterance",
    ]


def test_a_click_and_a_quiet_room_are_no_speech() -> None:
    ear = Ear(PCM, "normal")
    assert ear.hear(quiet(1.0) + tone(0.06) + quiet(1.0) + tone(3.0, volume=0.005)) == []


def test_an_utterance_without_an_end_is_taken_as_finished() -> None:
    ear = Ear(PCM, "normal")
    second = tone(1.0)
    changes = [change for _ in range(130) for change in ear.hear(second)]
    assert isinstance(changes[1], bytes)


async def test_the_engine_speaks_aloud_by_a_process_of_its_own_where_it_can() -> None:
    assert can_speak()
    woman, man = [
        await Speech().speak("I saw a white bird.", gender=gender, language="en", speed=1.0, rate=16_000)
        for gender in ("female", "male")
    ]
    for spoken in (woman, man):
        assert 0.8 < len(spoken) / 32_000 < 4
        assert loudness(spoken) > 0.01
    assert woman != man


async def test_slower_speech_lasts_longer() -> None:
    slow, fast = [
        await Speech().speak("I saw a white bird above the sea.", gender="male", language="en", speed=speed, rate=8_000)
        for speed in (0.7, 1.2)
    ]
    assert len(slow) > 1.3 * len(fast)


async def test_without_a_voice_there_is_silence_as_long_as_the_words() -> None:
    words = " ".join(["dream"] * 150)
    sound = await Speech(aloud=False).speak(words, gender="male", language="en", speed=1.0, rate=8_000)
    assert sound == silence(words, 1.0, 8_000)
    assert len(sound) / 16_000 == pytest.approx(60.3)
    assert set(sound) == {0}


async def test_a_language_that_the_voice_does_not_know_is_answered_with_sound_all_the_same() -> None:
    sound = await Speech().speak("I saw a bird.", gender="male", language="tlh", speed=1.0, rate=8_000)
    assert len(sound) > 8_000
