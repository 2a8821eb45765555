"""Loading by name: what is refused, what is passed through, what is shared."""

from __future__ import annotations

import gc
import json
import shutil
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub.hf_api import api as hub
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    QuantoConfig,
    T5Config,
    ViTConfig,
)
from transformers.utils.logging import set_tqdm_hook

from langchain_amulet.engine import HuggingFaceModel, LoadOptions, acquire, load
from langchain_amulet.engine.backends.huggingface.batched import BatchedBackend
from langchain_amulet.engine.loading.packing import PackedLinear, is_available
from langchain_amulet.engine.model_runtime import _Runtimes
from langchain_amulet.errors import (
    ConfigurationError,
    ModelNotFoundError,
    UnsupportedModelError,
)

FLOAT32 = LoadOptions(device="cpu", dtype="float32")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("model")
    shape: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    config = LlamaConfig(
        vocab_size=16, num_attention_heads=4, num_key_value_heads=2,
        max_position_embeddings=64, **shape,
    )  # fmt: skip
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(path)
    words = {word: index for index, word in enumerate("abcdefghijklmno")} | {"[UNK]": 15}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(path)
    return str(path)


def test_a_model_comes_with_its_tokenizer_in_evaluation_mode(folder: str) -> None:
    loaded = load(folder, FLOAT32)
    assert not loaded.model.training
    assert loaded.model.dtype == torch.float32
    assert loaded.tokenizer.convert_tokens_to_ids("c") == 2


def test_the_dtype_can_be_chosen(folder: str) -> None:
    assert load(folder, LoadOptions(device="cpu", dtype="bfloat16")).model.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_where_no_dtype_is_chosen_the_environment_says_which(
    folder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGCHAIN_AMULET_DTYPE", name)
    assert load(folder, LoadOptions(device="cpu")).model.dtype == getattr(torch, name)
    assert load(folder, FLOAT32).model.dtype == torch.float32


@pytest.mark.parametrize("name", ["int8", "fast"])
def test_what_is_no_dtype_is_refused_with_the_variable_s_name(
    folder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LANGCHAIN_AMULET_DTYPE", name)
    with pytest.raises(ConfigurationError, match=f"LANGCHAIN_AMULET_DTYPE must .*{name!r}"):
        load(folder, LoadOptions(device="cpu"))


@pytest.mark.skipif(not is_available(), reason="this torch can't pack")
def test_linear_layers_are_packed_on_the_cpu_unless_turned_off(folder: str) -> None:
    packed = load(folder, FLOAT32).model
    plain = load(folder, LoadOptions(device="cpu", dtype="float32", pack=False)).model
    assert any(isinstance(module, PackedLinear) for module in packed.modules())
    assert not any(isinstance(module, PackedLinear) for module in plain.modules())


def test_users_of_one_model_and_options_share_one_runtime(folder: str) -> None:
    found: list[Any] = []
    held = acquire(folder, FLOAT32)
    threads = [
        threading.Thread(target=lambda: found.append(acquire(folder, FLOAT32).engine))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert {id(engine) for engine in found} == {id(held.engine)}


def test_other_options_mean_another_runtime(folder: str) -> None:
    narrow = LoadOptions(device="cpu", dtype="float32", max_rows=2)
    assert acquire(folder, FLOAT32) is not acquire(folder, narrow)


def test_a_runtime_that_nobody_holds_is_freed(folder: str) -> None:
    runtime = acquire(folder, FLOAT32)
    gone = weakref.ref(runtime), weakref.ref(runtime.loaded.model)
    del runtime
    gc.collect()
    assert [ref() for ref in gone] == [None, None]


def test_nothing_stays_of_a_model_that_nobody_holds(folder: str) -> None:
    registry = _Runtimes()
    runtime = registry.acquire(folder, FLOAT32)
    assert len(registry.runtimes) == 1
    del runtime
    gc.collect()
    assert not registry.runtimes


def test_how_attention_is_computed_can_be_chosen(folder: str) -> None:
    loaded = load(folder, LoadOptions(device="cpu", attn_implementation="eager"))
    assert loaded.model.config._attn_implementation == "eager"


def test_a_model_on_one_device_loads_without_accelerate(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.integrations.accelerate.is_accelerate_available", bool)
    assert load(folder, FLOAT32).model.device.type == "cpu"


def test_a_device_map_without_accelerate_is_refused(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ConfigurationError, match=r"install 'langchain-amulet\[accelerate\]'"):
        load(folder, LoadOptions(device_map="auto"))


def test_an_unknown_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="nowhere"):
        load(str(tmp_path / "nowhere"))


def test_without_a_network_a_model_of_the_hub_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "endpoint", "http://127.0.0.1:1")  # where nobody listens
    began = time.monotonic()
    with pytest.raises(ModelNotFoundError, match=r"'no/such-model' isn't: \S.*'pocket'.*OFFLINE"):
        load("no/such-model")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("name", ["no/such-model", "not/a/name", "no such model"])
def test_what_cannot_be_on_the_hub_is_refused(name: str) -> None:
    with pytest.raises(ModelNotFoundError, match=r"must be a folder or Hub repository .* Check"):
        load(name)


def test_only_what_takes_long_has_a_progress_bar(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.utils.logging._tqdm_active", True)  # commands turn it off
    load(folder, FLOAT32)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("langchain_amulet.engine.loading.quiet.SMALL", 0)
    load(folder, FLOAT32)
    assert "Loading weights" in capsys.readouterr().err


def test_a_programs_own_hook_on_progress_bars_stays(folder: str) -> None:
    def hook(bar: Any, given: Any, named: Any) -> Any:
        raise AssertionError("a bar was made")

    before = set_tqdm_hook(hook)
    try:
        load(folder, FLOAT32)
    finally:
        assert set_tqdm_hook(before) is hook


def test_a_folder_without_a_config_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match=r"config\.json"):
        load(str(tmp_path))


def test_options_with_a_quantization_config_can_be_told_apart() -> None:
    one, same, other = (
        LoadOptions(quantization_config=QuantoConfig(weights=weights))
        for weights in ("int8", "int8", "int4")
    )
    assert one == same and hash(one) == hash(same)
    assert other not in {one, LoadOptions()}


@pytest.mark.parametrize(
    ("quantized", "remedy"),
    [
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "package.*bitsandbytes"),
        ({"quant_method": "gptq", "bits": 4}, "package.*(gptqmodel|optimum)"),
        ({"quant_method": "awq", "bits": 4}, "package.*(gptqmodel|autoawq)"),
        ({"quant_method": "compressed-tensors"}, "package.*compressed-tensors"),
        ({"quant_method": "higgs"}, "device that isn't there.*GPU"),
        ({"quant_method": "spqr"}, "device that isn't there.*GPU"),
        ({"quant_method": "fbgemm_fp8"}, "device that isn't there.*GPU"),
    ],
    ids=lambda value: value.get("quant_method") if isinstance(value, dict) else "",
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="what is missing here may be there")
def test_a_quantised_checkpoint_says_which_package_or_device_is_missing(
    folder: str, tmp_path: Path, quantized: dict[str, Any], remedy: str
) -> None:
    saved_with(folder, tmp_path, quantization_config=quantized)
    with pytest.raises(ConfigurationError, match=remedy):
        load(str(tmp_path))


def test_a_checkpoint_of_float8_is_computed_in_the_cpus_own_numbers(
    folder: str, tmp_path: Path
) -> None:
    """The library dequantises it where there is no device for it."""
    fp8 = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [16, 16]}
    saved_with(folder, tmp_path, quantization_config=fp8)
    loaded = load(str(tmp_path), LoadOptions(device="cpu"))
    assert loaded.info.device == "cpu" and loaded.info.logits_width == 16


def saved_with(folder: str, path: Path, **fields: Any) -> None:
    """The model of a folder in another one, with these fields in its config."""
    shutil.copytree(folder, path, dirs_exist_ok=True)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **fields}))


def test_sharded_and_tied_weights_are_those_of_one_file(tmp_path: Path, folder: str) -> None:
    tied = LlamaConfig.from_pretrained(folder, tie_word_embeddings=True)
    torch.manual_seed(1)
    model = LlamaForCausalLM(tied).eval()
    for name, size in (("whole", "1GB"), ("shards", "8KB")):
        shutil.copytree(folder, tmp_path / name)
        (tmp_path / name / "model.safetensors").unlink()
        model.save_pretrained(tmp_path / name, max_shard_size=size)
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    ids = torch.tensor([[1, 2, 3]])
    with torch.inference_mode():
        expected = model(input_ids=ids).logits
        for name in ("whole", "shards"):
            loaded = load(str(tmp_path / name), FLOAT32)
            assert isinstance(loaded, HuggingFaceModel)
            torch.testing.assert_close(loaded.model(input_ids=ids).logits, expected)


def test_the_chat_template_of_an_images_processor_is_the_tokenizers_if_it_has_none(
    folder: str, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    assert load(str(tmp_path), FLOAT32).tokenizer.chat_template is None
    (tmp_path / "chat_template.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert load(str(tmp_path), FLOAT32).tokenizer.chat_template == "{{ messages }}"


def test_pickled_weights_are_refused(folder: str, tmp_path: Path) -> None:
    for file in Path(folder).iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelNotFoundError, match="safetensors"):
        load(str(tmp_path))


def test_an_encoder_decoder_is_refused_by_name(tmp_path: Path) -> None:
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="encoder-decoder"):
        load(str(tmp_path))


def test_a_model_that_writes_no_text_is_refused_by_name(tmp_path: Path) -> None:
    ViTConfig().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="vit"):
        load(str(tmp_path))


@pytest.mark.parametrize("kind", ["LlamaForSequenceClassification", "LlamaModel"])
def test_weights_without_a_head_that_writes_text_are_refused(kind: str, tmp_path: Path) -> None:
    LlamaConfig(architectures=[kind]).save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match=kind):
        load(str(tmp_path))


@pytest.mark.parametrize("kinds", [None, ["LLaMAForCausalLM"], ["GPT2LMHeadModel"]])
def test_weights_are_not_refused_for_a_head_that_nobody_names_or_an_older_name(
    kinds: list[str] | None, folder: str, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = LlamaConfig.from_pretrained(folder)
    config.architectures = kinds
    config.save_pretrained(tmp_path)
    assert load(str(tmp_path), FLOAT32).info.logits_width == 16


@pytest.mark.parametrize("name", ["int8", "complex64", "bool", "float8_e4m3fn", "nosuch", "nn"])
def test_a_dtype_that_nothing_is_computed_in_is_refused(folder: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"dtype must .* not {name!r}: use 'bfloat16'"):
        load(folder, LoadOptions(device="cpu", dtype=name))


@pytest.mark.parametrize("name", ["meta", "hpu", "xla", "cuda:99", "nosuch"])
def test_a_device_that_is_not_there_is_refused(folder: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"device must be one .*{name!r}"):
        load(folder, LoadOptions(device=name))


@pytest.mark.parametrize(
    "settings",
    [
        {"attn_implementation": "nosuch"},
        {"attn_implementation": "flash_attention_2"},
        {"attn_implementation": "kernels-community/flash-attn"},
        {"device_map": "nosuch"},
        {"device_map": (("", "disk"),)},
        {"device_map": (("", "meta"),)},
        {"device_map": (("", 99),)},
        {"device_map": (("no.such.module", "cpu"),)},
        {"device_map": (("model", "cpu"), ("lm_head", "cpu"), ("no.such.module", "cpu"))},
        {"quantization_config": {"load_in_4bit": True}},
        {"quantization_config": {"quant_method": "nosuch"}},
        {"quantization_config": {}},
        {"quantization_config": "x"},
        {"quantization_config": 5},
        {"revision": "no such \x00 revision"},
    ],
    ids=str,
)
def test_settings_that_can_not_work_are_errors_of_the_package_in_one_line(
    folder: str, settings: dict[str, Any]
) -> None:
    try:
        load(folder, LoadOptions(dtype="float32", **settings))
    except ConfigurationError as error:
        assert "\n" not in str(error)
    else:  # on a machine that has the package, or where a revision of a folder means nothing
        assert "revision" in settings or torch.cuda.is_available()


@pytest.mark.parametrize(
    "name",
    ["a\0b", "a\nb", "x" * 5000, "~nosuchuser/x", "https://huggingface.co/x", "file:///etc", "/"],
    ids=lambda name: repr(name[:20]),
)
def test_what_can_be_no_model_s_name_is_refused_in_one_short_line(name: str) -> None:
    with pytest.raises(ModelNotFoundError) as caught:
        load(name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500


@pytest.mark.parametrize("attention", ["flex_attention", "paged|sdpa", "somebody/their-kernel"])
def test_an_attention_that_the_batched_backend_was_not_made_for_never_reaches_it(
    folder: str, attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def join(*args: Any) -> Any:
        raise AssertionError("it was tried")

    monkeypatch.setattr(BatchedBackend, "join", join)
    model = load(folder, FLOAT32).model
    model.config._attn_implementation = attention
    with pytest.raises(UnsupportedModelError, match=r"computes attention by eager or sdpa, not by"):
        HuggingFaceModel(model, backend="batched")
