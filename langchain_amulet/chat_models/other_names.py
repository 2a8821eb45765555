"""What settings of other libraries are called here, for whoever writes what they know.

This module knows names: nothing of what settings mean, or how they are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_LENGTH = "use max_tokens, the most tokens of an answer"
_STOPS = "use stop=[...]"
_SAMPLING = "use temperature, where 0 takes the likeliest token"
_SEVERAL = (
    "one call gives one answer: use batch for several, or a method such as BestOf to choose among "
    "them"
)
_QUANTIZED = (
    "use quantization_config, as in BitsAndBytesConfig(load_in_4bit=True) of transformers, or a "
    "model that is quantised"
)
_MODEL = "use model, a local folder or a repository on the Hub"
_STYLE = "use preference, how the answer is wanted in words"
_STRENGTH = "use method, as in method='balanced' or method=2.0, or Preference(text, strength=...)"
_REPETITION = "use repetition_penalty, a factor, or presence_penalty, a difference"
_DEVICE = "use device, as in device='cuda:0', or device_map"
_LOCAL = "the model runs in this process, so there is no account and no address: leave it out"
_TOKEN = "set HF_TOKEN in the environment, or log in by `hf auth login`"
_CONTEXT = "the context is the model's own, and its memory is taken as it is needed: leave it out"
_SCHEMA = "use with_structured_output, or response_format"
_TOOLS = "use bind_tools"
_BY_ITSELF = "give each of these settings by its own name, as in temperature=0.7"
_TEMPLATE = "use chat_template_kwargs, as in {{'{0}': {1}}}"

OTHER_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "num_predict": _LENGTH,
        "max_new_tokens": _LENGTH,
        "max_completion_tokens": _LENGTH,
        "max_output_tokens": _LENGTH,
        "max_length": _LENGTH,
        "stop_sequences": _STOPS,
        "stop_strings": _STOPS,
        "stop_token_ids": _STOPS,
        "eos_token_id": _STOPS,
        "do_sample": _SAMPLING,
        "temp": _SAMPLING,
        "random_seed": "use seed",
        "num_beams": "use method=BeamSearch(n=...)",
        "n": _SEVERAL,
        "num_return_sequences": _SEVERAL,
        "best_of": "use method=BestOf(n=...)",
        "load_in_4bit": _QUANTIZED,
        "load_in_8bit": _QUANTIZED,
        "quantization": _QUANTIZED,
        "quantize": _QUANTIZED,
        "model_name": _MODEL,
        "model_id": _MODEL,
        "model_path": _MODEL,
        "repo_id": _MODEL,
        "style": _STYLE,
        "preference_prompt": _STYLE,
        "strength": _STRENGTH,
        "guidance_scale": _STRENGTH,
        "alpha": _STRENGTH,
        "frequency_penalty": _REPETITION,
        "repeat_penalty": _REPETITION,
        "torch_dtype": "use dtype",
        "precision": "use dtype",
        "n_gpu_layers": _DEVICE,
        "num_gpu": _DEVICE,
        "gpu": _DEVICE,
        "num_ctx": _CONTEXT,
        "n_ctx": _CONTEXT,
        "max_model_len": _CONTEXT,
        "keep_alive": "weights stay until close(): use that, or a `with` block",
        "organization": _LOCAL,
        "token": _TOKEN,
        "hf_token": _TOKEN,
        "use_auth_token": _TOKEN,
        "cache_dir": "set HF_HOME in the environment",
        "local_files_only": "set HF_HUB_OFFLINE=1 in the environment",
        "format": _SCHEMA,
        "json_schema": _SCHEMA,
        "system": "put a SystemMessage in front of the conversation",
        "system_prompt": "put a SystemMessage in front of the conversation",
        "store": "use memory=PreferenceMemory(store)",
        "request_timeout": "use timeout, in seconds",
        "reasoning": _TEMPLATE.format("enable_thinking", True),
        "enable_thinking": _TEMPLATE.format("enable_thinking", True),
        "reasoning_effort": _TEMPLATE.format("reasoning_effort", "'low'"),
        "continue_final_message": _TEMPLATE.format("continue_final_message", True),
        "tools": _TOOLS,
        "functions": _TOOLS,
        "tool_choice": "use bind_tools(tools, tool_choice=...)",
        "function_call": "use bind_tools(tools, tool_choice=...)",
        "user": "use user_id in a call's config, as in {'configurable': {'user_id': 'ada'}}",
        "model_kwargs": _BY_ITSELF,
        "pipeline_kwargs": _BY_ITSELF,
        "generation_config": _BY_ITSELF,
        "num_thread": "set OMP_NUM_THREADS in the environment",
        "n_threads": "set OMP_NUM_THREADS in the environment",
        "tokenizer": "it comes with the model: leave it out",
        "pipeline": _MODEL,
        "llm": _MODEL,
    }
)
"""By the names that other libraries have for it, what to write here."""
