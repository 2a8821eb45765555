"""How many steered answers repeat their preference's own words, with the guard and without.

Ten questions are answered in ten styles each: plainly prompted, steered with the guard against
echoes, and steered without. Counted are answers with a phrase of their preference that the question
doesn't hold, see `langchain_amulet.preferences.echo_guard`, and words, as a guard that changed the
style would show in them.

    python -m benchmarks.echoes
    python -m benchmarks.echoes --model /path/to/model --temperature 0.7
"""

from __future__ import annotations

import argparse
from statistics import mean

from rich.table import Table

from benchmarks.harness import console
from langchain_amulet import ChatAmulet
from langchain_amulet.preferences.echo_guard import echoes

QUESTIONS = (
    "How do I sleep better?",
    "How can I save money?",
    "What should I cook tonight?",
    "How do I learn a language?",
    "Why is the sky blue?",
    "How do I get fit?",
    "What makes a good friend?",
    "How do I prepare for an interview?",
    "What is a black hole?",
    "How can I be more patient?",
)
PREFERENCES = (
    "Please use a formal tone.",
    "Keep it short and simple.",
    "Be creative and original in the answer.",
    "Explain it with many details and examples.",
    "Be uplifting and full of hope.",
    "Answer as if you spoke to a child.",
    "Use numbered lists wherever you can.",
    "Write like a friendly old teacher.",
    "Always mention the risks and the costs.",
    "Make me laugh with a little joke.",
)
WAYS = {
    "prompted": {"method": "pref"},
    "steered": {"echo_guard": True},
    "steered, no guard": {"echo_guard": False},
}


def main() -> None:
    """Count, and print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="pocket")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--max-tokens", type=int, default=80)
    options = parser.parse_args()
    table = Table("", "answers with an echo", "words per answer")
    calls = [(question, style) for style in PREFERENCES for question in QUESTIONS]
    settings = {"temperature": options.temperature, "max_tokens": options.max_tokens, "seed": 1}
    with ChatAmulet(model=options.model, dtype="float32", **settings) as llm:
        for name, way in WAYS.items():
            answers = []
            for style in PREFERENCES:
                asked = llm.bind(preference=style, **way)
                answers += [answer.text for answer in asked.batch(list(QUESTIONS))]
            echoing = sum(
                bool(echoes(answer, [style], [question]))
                for answer, (question, style) in zip(answers, calls, strict=True)
            )
            words = mean(len(answer.split()) for answer in answers)
            table.add_row(name, f"{echoing} of {len(calls)}", f"{words:.1f}")
    console().print(f"{options.model}, temperature {options.temperature:g}", table)


if __name__ == "__main__":
    main()
