"""Small tokenizers of the kinds that models come with, and chat templates in their manners."""

import json

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from tokenizers.trainers import (
    BpeTrainer,
    UnigramTrainer,
    WordLevelTrainer,
    WordPieceTrainer,
)
from transformers import PreTrainedTokenizerFast

CORPUS = [
    "How do I sleep better? Keep it short, and be kind to them.",
    "Größe, naïve café; 你好，世界。 Вот так! 🙂👩‍👩‍👧",  # noqa: RUF001
    "<|im_start|>system You are kind.<|im_end|> [INST] <tool_call> {} </tool_call>",
] * 3

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function | tojson }}</tool_call>{% endfor %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Tiny.<|im_end|>\n{% endif %}"
    + CHATML
)
JOINED_ROLES = (  # as Phi-4-mini: control tokens made of a message's role
    "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content | trim }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
STRICT = (  # as Gemma: no system role, roles alternate
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
FORGETFUL = (  # drops system messages without a word
    "{% for m in messages if m.role != 'system' %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ESCAPING = (  # writes messages as JSON in ASCII, which hides the library's own marks
    "{% for m in messages %}<|im_start|>{{ m.content | tojson(ensure_ascii=True) }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPLITTING = (  # as Qwen3: takes thoughts out of answers
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{{ m.content.split('<|think|>')[-1].lstrip('\\n') }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

MISTRAL = (  # a list of calls, with ids of nine letters
    "{% macro nine(id) %}{% if id | length != 9 or not id.isalnum() %}"
    "{{ raise_exception('ids have nine letters') }}{% endif %}{{ id }}{% endmacro %}"
    "{% for m in messages %}{% if m.role == 'user' %}[INST]{{ m.content }}[/INST]"
    "{% elif m.role == 'tool' %}[RESULT]{{ m.content }} for {{ nine(m.tool_call_id) }}[/RESULT]"
    "{% else %}{{ m.content }}{% if m.tool_calls %}[TOOL_CALLS][{% for c in m.tool_calls %}"
    '{{ \'{"name": "\' + c.function.name + \'", "arguments": \' }}'
    "{{ c.function.arguments | tojson }}{{ ', \"id\": \"' + nine(c.id) + '\"}' }}"
    "{{ ', ' if not loop.last }}{% endfor %}]{% endif %}{{ eos_token }}{% endif %}{% endfor %}"
)
LLAMA = (  # one call to a turn, and nothing said along with it
    "{% for m in messages %}{% if m.tool_calls %}{% if m.tool_calls | length != 1 %}"
    "{{ raise_exception('one call only') }}{% endif %}<|assistant|>"
    '{{ \'{"name": "\' + m.tool_calls[0].function.name + \'", "parameters": \' }}'
    "{{ m.tool_calls[0].function.arguments | tojson }}}<|im_end|>"
    "{% else %}<|{{ m.role }}|>{{ m.content }}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

CONTROLS = ["<|im_start|>", "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|think|>"]
TOOL_TAGS = ["<tool_call>", "</tool_call>"]


def byte_level(
    template: str | None = CHATML,
    decoder: decoders.Decoder | None = decoders.ByteLevel(),  # noqa: B008
) -> PreTrainedTokenizerFast:
    """As GPT-2, Llama 3 and Qwen: byte-level BPE; two control tokens aren't special."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    if decoder is not None:
        tokenizer.decoder = decoder
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _finished(tokenizer, template)


def byte_fallback(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """As Llama 2, Mistral and Gemma: words begin with a mark, unknown characters are bytes."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(CORPUS[:1], trainer)
    return _finished(_without_added_bytes(tokenizer), template)


def unigram(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """As T5 and its kin: words begin with a mark, there are no bytes."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = UnigramTrainer(
        vocab_size=150, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _finished(tokenizer, template)


def wordpiece(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """As BERT: continuations are marked, words are joined with spaces."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), behavior="removed")
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    trainer = WordPieceTrainer(vocab_size=200, special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _finished(tokenizer, template)


def word_suffixes(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """As GPT-1: the last token of a word is marked, so that a space comes behind it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.BPEDecoder()
    trainer = BpeTrainer(
        vocab_size=200, special_tokens=["<unk>"], end_of_word_suffix="</w>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _finished(tokenizer, template)


def word_level(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Whole words, and nothing that decodes them: the library puts spaces between."""
    tokenizer = Tokenizer(models.WordLevel(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    trainer = WordLevelTrainer(special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return _finished(tokenizer, template)


def _without_added_bytes(tokenizer: Tokenizer) -> Tokenizer:
    """Byte tokens belong to the vocabulary alone: as added tokens they would match as text."""
    state = json.loads(tokenizer.to_str())
    state["added_tokens"] = [t for t in state["added_tokens"] if t["content"] == "<unk>"]
    return Tokenizer.from_str(json.dumps(state))


def _finished(tokenizer: Tokenizer, template: str | None) -> PreTrainedTokenizerFast:
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in CONTROLS])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in TOOL_TAGS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=template
    )
