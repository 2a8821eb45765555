"""What settings of other libraries are called here, for whoever writes what they know.

This module knows names: nothing of what settings mean, or how they are checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_LENGTH = "use max_tokens, the most tokens of an answer"
_LEAST = "answers end where the model ends them: say in preference how long they are to be"
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
_FORM = (
    "use with_structured_output or response_format, for a form that isn't JSON a field with a "
    "pattern or an enum"
)
_SERVER = "set base_url and backend='vllm' for a vLLM server; else the model runs in this process"
_KEY = "set api_key, and only beside backend='vllm'; a model in this process needs none"
_PROXIED = "only one's own vLLM server is reached over a network: leave it out"
_MEMORY = "use kv_cache_memory, as in kv_cache_memory='4GiB', or max_rows"
_KEPT = "prompts that begin alike are computed once, see cache_scope for whose: leave it out"
_ALIKE = "ways of a backend's own to compute the same: leave it out"
_DRAFTS = "use speculation='lookup', which needs no second model"
_TRUNCATION = "no prompt is cut: shorten the conversation, as by trim_messages of LangChain"
_ADAPTER = "merge the adapter into the weights, as by merge_and_unload() of PEFT, and use those"
_LOGITS = (
    "no token's own score can be set: say in preference what is wanted, or hold the answer to a "
    "schema by response_format"
)
_TAIL = "use top_p, top_k or min_p to leave unlikely tokens out"
_TEMPLATE_FILE = "use chat_template, the text of a Jinja template"
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
        # vLLM's
        "guided_json": _SCHEMA,
        "guided_regex": _FORM,
        "guided_choice": _FORM,
        "guided_grammar": _FORM,
        "guided_decoding": _FORM,
        "guided_decoding_backend": _FORM,
        "structured_outputs": _FORM,
        "sampling_params": _BY_ITSELF,
        "vllm_kwargs": _BY_ITSELF,
        "length_penalty": "use method=BeamSearch(n=..., length_penalty=...)",
        "use_beam_search": "use method=BeamSearch(n=...)",
        "gpu_memory_utilization": _MEMORY,
        "swap_space": _MEMORY,
        "max_num_seqs": "use max_rows, the most prompts decoded at a time",
        "max_num_batched_tokens": "use prefill_chunk",
        "tensor_parallel_size": "use device_map='auto' for several devices",
        "enforce_eager": "use cuda_graphs=False",
        "enable_prefix_caching": _KEPT,
        "speculative_config": _DRAFTS,
        "speculative_model": _DRAFTS,
        "truncate_prompt_tokens": _TRUNCATION,
        "ignore_eos": _LEAST,
        "min_tokens": _LEAST,
        "prompt_logprobs": "use score(conversation, answer)",
        "bad_words": _LOGITS,
        "echo": "the conversation isn't part of an answer: leave it out",
        "add_generation_prompt": "it is decided for each prompt: leave it out",
        # Ollama's
        "options": _BY_ITSELF,
        "mirostat": _TAIL,
        "mirostat_tau": _TAIL,
        "mirostat_eta": _TAIL,
        "mirostat_mode": _TAIL,
        "tfs_z": _TAIL,
        "repeat_last_n": _REPETITION,
        "client_kwargs": _PROXIED,
        "raw": "use chat_template, which may write the messages as they stand",
        "think": _TEMPLATE.format("enable_thinking", True),
        # llama-cpp-python's
        "n_batch": "use prefill_chunk",
        "n_ubatch": "use prefill_chunk",
        "logits_all": "use logprobs=True, or score(conversation, answer)",
        "use_mmap": _ALIKE,
        "use_mlock": _ALIKE,
        "f16_kv": _ALIKE,
        "flash_attn": "use attn_implementation",
        "flash_attention": "use attn_implementation",
        "use_flash_attention_2": "use attn_implementation",
        "rope_freq_base": _CONTEXT,
        "rope_freq_scale": _CONTEXT,
        "n_threads_batch": "set OMP_NUM_THREADS in the environment",
        "main_gpu": _DEVICE,
        "tensor_split": _DEVICE,
        "lora_path": _ADAPTER,
        "lora_adapters": _ADAPTER,
        "adapter": _ADAPTER,
        "grammar": _FORM,
        "grammar_path": _FORM,
        "logits_processor": _LOGITS,
        "typical_p": _TAIL,
        "suffix": "only answers are written, and nothing is filled in: leave it out",
        "max_tokens_to_sample": _LENGTH,
        # OpenAI's and Anthropic's
        "logit_bias": _LOGITS,
        "extra_body": _BY_ITSELF,
        "extra_headers": _PROXIED,
        "default_headers": _PROXIED,
        "default_query": _PROXIED,
        "http_client": _PROXIED,
        "http_async_client": _PROXIED,
        "openai_proxy": _PROXIED,
        "anthropic_proxy": _PROXIED,
        "openai_api_key": _KEY,
        "anthropic_api_key": _KEY,
        "openai_api_base": _SERVER,
        "openai_organization": _LOCAL,
        "anthropic_api_url": _SERVER,
        "api_base": _SERVER,
        "server_url": _SERVER,
        "endpoint_url": _SERVER,
        "inference_server_url": _SERVER,
        "api_version": _LOCAL,
        "azure_endpoint": _LOCAL,
        "azure_deployment": _MODEL,
        "deployment_name": _MODEL,
        "service_tier": _LOCAL,
        "prediction": _DRAFTS,
        "verbosity": _STYLE,
        "modalities": "answers are texts: leave it out",
        "audio": "answers are texts: leave it out",
        "stream_usage": "usage is told without being asked for: leave it out",
        "stream_options": "usage is told without being asked for: leave it out",
        "include_response_headers": _PROXIED,
        "use_responses_api": _LOCAL,
        "response_format": "use bind(response_format=...), or with_structured_output",
        "thinking": _TEMPLATE.format("enable_thinking", True),
        "effort": _TEMPLATE.format("reasoning_effort", "'low'"),
        "mcp_servers": _TOOLS,
        "documents": _TEMPLATE.format("documents", "[...]"),
        # transformers' and HuggingFacePipeline's
        "use_cache": _KEPT,
        "cache_implementation": _KEPT,
        "past_key_values": _KEPT,
        "num_beam_groups": "use method=BeamSearch(n=...)",
        "early_stopping": "use method=BeamSearch(n=...)",
        "no_repeat_ngram_size": _REPETITION,
        "encoder_repetition_penalty": _REPETITION,
        "epsilon_cutoff": _TAIL,
        "eta_cutoff": _TAIL,
        "top_a": _TAIL,
        "penalty_alpha": _TAIL,
        "assistant_model": _DRAFTS,
        "prompt_lookup_num_tokens": _DRAFTS,
        "bad_words_ids": _LOGITS,
        "force_words_ids": _LOGITS,
        "sequence_bias": _LOGITS,
        "suppress_tokens": _LOGITS,
        "min_new_tokens": _LEAST,
        "pad_token_id": "it comes with the model: leave it out",
        "bos_token_id": "it comes with the model: leave it out",
        "return_full_text": "the conversation isn't part of an answer: leave it out",
        "skip_prompt": "the conversation isn't part of an answer: leave it out",
        "skip_special_tokens": "control tokens are no part of an answer's text: leave it out",
        "output_scores": "use logprobs=True",
        "low_cpu_mem_usage": _ALIKE,
        "offload_folder": "use device_map",
        "max_memory": "use device_map",
        "bnb_config": _QUANTIZED,
        "huggingfacehub_api_token": _TOKEN,
        "task": "every model here writes text: leave it out",
        "batch_size": "use max_rows, the most prompts decoded at a time",
        "chat_template_path": _TEMPLATE_FILE,
        "model_basename": "use gguf_file",
        "filename": "use gguf_file",
    }
)
"""By the names that other libraries have for it, what to write here."""
