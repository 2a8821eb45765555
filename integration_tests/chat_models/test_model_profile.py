"""What a model says it can do, before anything of it is loaded."""

from pathlib import Path
from typing import Any

import pytest
from langchain_core.language_models import ModelProfile
from transformers import GPT2Config, Phi3Config

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import ContextLengthError

KNOWN_LATER = {  # of the model behind the weights, which only its makers know
    "status",
    "release_date",
    "last_updated",
    "reasoning_effort_levels",
    "reasoning_effort_default",
    "mid_conversation_system_messages",
    "mid_conversation_tools",
}


def profile(model: str, **settings: Any) -> ModelProfile:
    found = ChatAmulet(model=model, **settings).profile
    assert found is not None
    return found


def test_it_says_all_that_there_is_to_say_of_a_local_model(tiny: str) -> None:
    assert profile(tiny).keys() == ModelProfile.__annotations__.keys() - KNOWN_LATER


def test_it_reads_and_writes_text_calls_tools_and_keeps_to_schemas(tiny: str) -> None:
    found = profile(tiny)
    assert found["name"] == tiny
    for ability in ("text_inputs", "text_outputs", "tool_calling", "tool_choice"):
        assert found[ability]  # type: ignore[literal-required]
    for ability in ("tool_call_streaming", "structured_output", "temperature", "open_weights"):
        assert found[ability]  # type: ignore[literal-required]
    media = {
        name: value for name, value in found.items() if name.startswith(("im", "au", "vi", "p"))
    }
    assert len(media) >= 10
    assert not any(media.values())


def test_its_context_is_the_engines(tiny: str) -> None:
    with ChatAmulet(model=tiny) as llm:
        assert llm.profile
        assert llm.profile["max_input_tokens"] == 1024
        with pytest.raises(ContextLengthError, match="context of 1024"):
            llm.invoke("Hi!", max_tokens=1024)
        assert llm.profile["max_output_tokens"] == 1024


ROPE = {"rope_type": "longrope", "factor": 8.0, "short_factor": [1.0], "long_factor": [4.0]}


@pytest.mark.parametrize(
    ("config", "context"),
    [
        (GPT2Config(n_positions=77), 77),
        (
            Phi3Config(
                max_position_embeddings=128,
                original_max_position_embeddings=16,
                hidden_size=4,
                num_attention_heads=2,
                rope_parameters={**ROPE, "original_max_position_embeddings": 16},
            ),
            16,  # where its frequencies change
        ),
    ],
    ids=["positions by another name", "longrope"],
)
def test_its_context_is_found_by_whatever_name_and_up_to_where_it_holds(
    config: Any, context: int, tmp_path: Path
) -> None:
    config.save_pretrained(tmp_path)
    assert profile(str(tmp_path))["max_input_tokens"] == context


@pytest.mark.parametrize("name", ["no/such-model", "not a name", "/no/such/folder"])
def test_nothing_is_said_of_a_context_that_is_not_known(name: str) -> None:
    assert "max_input_tokens" not in profile(name)
    assert "reasoning_output" not in profile(name)


def test_it_says_whether_the_model_thinks(tiny: str, thinker: str) -> None:
    assert not profile(tiny)["reasoning_output"]
    assert profile(thinker)["reasoning_output"]
    assert profile(tiny, chat_template="{{ messages }}<think></think>")["reasoning_output"]
    assert not profile(thinker, chat_template="{{ messages }}")["reasoning_output"]


def test_a_profile_may_be_given(tiny: str) -> None:
    assert profile(tiny, profile={"name": "Tiny"}) == {"name": "Tiny"}


def test_a_broken_folder_leaves_the_rest_of_the_profile(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    assert profile(str(tmp_path))["tool_calling"]
