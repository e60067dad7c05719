"""What made-up dreamers and interpreters say. All of it is invented."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple


class Words(NamedTuple):
    """What is said in one language."""

    openings: Sequence[str]
    told: Sequence[str]
    asked: Sequence[str]
    goodbyes: Sequence[str]


LANGUAGES: Final[Mapping[str, Words]] = {
    "en": Words(
        openings=(
            "Hello. What did you dream?",
            "Welcome back. Is there a dream that you would like to look at?",
            "Good evening. Tell me what came to you in the night.",
        ),
        told=(
            "I was in a house with more rooms than it can have, and every door was painted shut.",
            "A river ran through our kitchen and nobody but me was surprised.",
            "My grandmother stood at the bus stop and waved, and I could not cross the road.",
            "I was falling for so long that I began to read a book on the way down.",
            "There was a white horse on the balcony and I was afraid that it would jump.",
            "I had to sit an exam in a language that I have never heard.",
            "All my teeth came out, one after the other, and I put them into my pocket.",
            "I could fly again, low over the fields, and it was the happiest I have been for months.",
            "A black dog walked beside me and did not want anything.",
            "The sea was rising in the street, quite slowly, and people went on shopping.",
            "I lost my little brother in a station that had no exits.",
            "Somebody had left the lights on in a tower far away, and I knew that it was for me.",
            "I was late for my own wedding and my shoes were full of sand.",
            "I found a snake in my bed, and it was warm and asleep.",
            "We were burying something in the garden and I did not dare to ask what.",
            "My old boss gave me a key and told me never to use it.",
            "I was a child again, and my father carried me up a mountain.",
            "The mirror showed me from behind.",
            "It was sad, as if something had been over for years and nobody had told me.",
            "I felt safe there, for the first time in a long while.",
            "I was angry when I woke up, and I do not know at whom.",
            "Maybe it is about the move. I have not thought of it that way.",
            "I think the house is me. That makes sense.",
            "It reminds me of the summer when my parents did not speak.",
            "I realise now that I was never running away from it, I was running towards it.",
            "I do not know. It was only a picture.",
            "Yes, exactly like that.",
            "It comes back every few weeks, always a little different.",
            "Then I woke up and my heart was beating hard.",
            "I was ashamed, although nobody had seen me.",
        ),
        asked=(
            "What was the first thing you noticed there?",
            "And how did you feel when you saw it?",
            "Does that picture remind you of anything from these days?",
            "Stay with it for a moment. What happens if you look again?",
            "Who else knows that place?",
            "What would it say, if it could speak?",
            "You said it quite calmly. Was it calm?",
            "I wonder what was just about to happen.",
            "That is a strong image. When have you felt like that before?",
            "What do you make of it yourself?",
            "Where in you do you feel that now?",
            "And what did you not do, in the dream?",
        ),
        goodbyes=("Thank you, that helped. Good night.", "I have to go now. Goodbye.", "Thanks, I will sleep on it."),
    ),
    "de": Words(
        openings=("Guten Abend. Was haben Sie geträumt?", "Erzählen Sie mir von der letzten Nacht."),
        told=(
            "Ich stand in einem Aufzug, der seitwärts durch die Stadt fuhr.",
            "Im Keller war plötzlich ein See, und darin schwamm unsere alte Katze.",
            "Ich habe den Zug verpasst und war trotzdem erleichtert.",
            "Meine Mutter hat mir einen Brief gegeben, den ich nicht lesen konnte.",
            "Es war dunkel, aber ich hatte keine Angst.",
            "Vielleicht hat es mit der Arbeit zu tun.",
        ),
        asked=("Wie hat sich das angefühlt?", "Woran erinnert Sie das?", "Was geschah dann?", "Und wer war noch da?"),
        goodbyes=("Danke, gute Nacht.",),
    ),
    "es": Words(
        openings=("Buenas noches. ¿Qué has soñado?",),
        told=(
            "Caminaba por un mercado donde nadie vendía nada.",
            "Mi abuelo tocaba la guitarra debajo del agua.",
            "Perdí las llaves y la casa ya no tenía puertas.",
            "Sentí mucha paz al ver el fuego.",
            "Creo que tiene que ver con mi hermana.",
        ),
        asked=("¿Qué sentiste entonces?", "¿A quién te recuerda?", "¿Y qué pasó después?"),
        goodbyes=("Gracias, hasta mañana.",),
    ),
    "hi": Words(
        openings=("नमस्ते। आपने क्या सपना देखा?",),
        told=(
            "मैं एक पुराने मंदिर की सीढ़ियाँ चढ़ रही थी और वे ख़त्म नहीं होती थीं।",
            "नदी के उस पार कोई मेरा नाम पुकार रहा था।",
            "घर में बहुत रोशनी थी, पर कोई नहीं था।",
            "मुझे डर नहीं लगा, बस थोड़ी उदासी थी।",
        ),
        asked=("तब आपको कैसा लगा?", "वह जगह आपको किसकी याद दिलाती है?", "फिर क्या हुआ?"),
        goodbyes=("धन्यवाद, शुभ रात्रि।",),
    ),
}
