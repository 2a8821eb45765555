"""Chat templates that write calls as those of released models do, each with its traits only."""

from dataclasses import dataclass

from tokenizers import AddedToken

from langchain_amulet.chat_formats.chat_template import ChatTemplate
from support.tokenizers import byte_level

NAME, JSON = "{{ c.function.name }}", "{{ c.function.arguments | tojson }}"
VALUE = "{{ v if v is string else v | tojson }}"
EACH = "{% for k, v in c.function.arguments.items() %}"
OBJECT = f'{{"name": "{NAME}", "arguments": {JSON}}}'
PYTHON = (
    f"{NAME}({EACH}{{{{ k }}}}={{{{ v | tojson if v is string else v }}}}"
    "{{ ', ' if not loop.last }}{% endfor %})"
)


def calls(one: str, between: str = "") -> str:
    """Each call written like ``one``."""
    separator = "{% if not loop.last %}" + between + "{% endif %}"
    return "{% for c in m.tool_calls %}" + one + separator + "{% endfor %}"


def tagged(start: str, argument: str, end: str) -> str:
    """A call with a tag for each argument."""
    return f"{start}{EACH}{argument}{{% endfor %}}{end}"


@dataclass(frozen=True)
class Published:
    """A template's trait: how it writes calls.

    Attributes:
        calls: The part of the template that writes an answer's calls.
        tokens: Control tokens of its tokenizer.
        before: What it writes in front of anybody's turn, but for the role.
        behind: What it writes behind the role.
        opened: What it opens an answer with, and prompts with.
        said: The part of it that writes what an answer says, with calls or without.
        back: What it writes in front of the end of anybody's turn.
    """

    calls: str
    tokens: tuple[str, ...] = ()
    before: str = "<|im_start|>"
    behind: str = "\n"
    opened: str = ""
    said: str = "{% if not m.tool_calls %}{{ m.content }}{% endif %}"
    back: str = ""

    @property
    def template(self) -> ChatTemplate:
        """A chat template that writes calls like this."""
        answer = self.opened + self.said + "{% if m.tool_calls %}" + self.calls + "{% endif %}"
        said = (
            f"{{% if m.role == 'assistant' %}}{answer}{{% else %}}{{{{ m.content }}}}{{% endif %}}"
        )
        text = (
            f"{{% for m in messages %}}{self.before}{{{{ m.role }}}}{self.behind}{said}{self.back}"
            "<|im_end|>\n{% endfor %}{% if tools %}{{ tools | tojson }}{% endif %}"
            f"{{% if add_generation_prompt %}}{self.before}assistant{self.behind}{self.opened}"
            "{% endif %}"
        )
        tokenizer = byte_level(text)
        added = [AddedToken(token, normalized=False) for token in self.tokens]
        tokenizer.add_tokens(added, special_tokens=True)
        return ChatTemplate(tokenizer)


BAR = "｜"
XML = f"<function={NAME}>\n", f"<parameter={{{{ k }}}}>\n{VALUE}\n</parameter>\n", "</function>\n"
SEED = f"<function={NAME}>\n", f"<parameter={{{{ k }}}}>{VALUE}</parameter>\n", "</function>\n"
INVOKE = f'<invoke name="{NAME}">\n', f'<parameter name="{{{{ k }}}}">{VALUE}</parameter>\n'
DSML = (
    f'<{BAR}DSML{BAR}invoke name="{NAME}">\n',
    f'<{BAR}DSML{BAR}parameter name="{{{{ k }}}}" string="{{{{ "true" if v is string else "false" '
    f'}}}}">{VALUE}</{BAR}DSML{BAR}parameter>\n',
    f"</{BAR}DSML{BAR}invoke>\n",
)
ARGUMENT = f"<arg_key>{{{{ k }}}}</arg_key>\n<arg_value>{VALUE}</arg_value>\n"
MANY = f"<{BAR}tool▁calls▁begin{BAR}>", f"<{BAR}tool▁calls▁end{BAR}>"
ONE = f"<{BAR}tool▁call▁begin{BAR}>", f"<{BAR}tool▁sep{BAR}>", f"<{BAR}tool▁call▁end{BAR}>"
SECTION = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
NS = "]<]minimax[>["
NESTED = (
    "{%- macro nested(v) -%}{% if v is mapping %}{% for k, w in v.items() if w is not none %}"
    f"{NS}<{{{{ k }}}}>{{{{ nested(w) }}}}{NS}</{{{{ k }}}}>{{% endfor %}}"
    "{% elif v is iterable and v is not string %}{% for w in v %}"
    f"{NS}<item>{{{{ nested(w) }}}}{NS}</item>{{% endfor %}}"
    "{% else %}{{ v | tojson if v is boolean else v }}{% endif %}{%- endmacro -%}"
)
XTML = "<|open|>", "<|close|>", "<|sep|>"
TYPE = (
    "{{ 'boolean' if v is boolean else 'null' if v is none else 'number' if v is number else "
    "'string' if v is string else 'object' if v is mapping else 'array' }}"
)
KIMI = "<|tool_call_begin|>", "<|tool_call_argument_begin|>", "<|tool_call_end|>"

PUBLISHED: dict[str, Published] = {
    "hermes": Published(calls(f"<tool_call>\n{OBJECT}\n</tool_call>", "\n")),
    "mistral": Published(
        "[TOOL_CALLS][" + calls(OBJECT[:-1] + ', "id": "{{ c.id }}"}', ", ") + "]",
        ("[TOOL_CALLS]",),
    ),
    "mistral, names first": Published(
        calls(f"[TOOL_CALLS]{NAME}[CALL_ID]{{{{ c.id }}}}[ARGS]{JSON}"),
        ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
    ),
    "deepseek": Published(
        MANY[0] + calls(f"{ONE[0]}{NAME}{ONE[1]}{JSON}{ONE[2]}") + MANY[1], (*MANY, *ONE)
    ),
    "deepseek, in a code block, with JSON handed over": Published(
        MANY[0]
        + calls(
            f"{ONE[0]}function{ONE[1]}" + "{{ c.function.name + '\n```json\n' + "
            "c.function.arguments + '\n```' }}" + ONE[2],
            "\n",
        )
        + MANY[1],
        (*MANY, *ONE),
    ),
    "kimi": Published(
        SECTION[0]
        + calls(f"{KIMI[0]}functions.{NAME}:{{{{ loop.index0 }}}}{KIMI[1]}{JSON}{KIMI[2]}")
        + SECTION[1],
        (*SECTION, *KIMI),
    ),
    "kimi, with ids for names": Published(
        SECTION[0] + calls(f"{KIMI[0]}{{{{ c.id }}}}{KIMI[1]}{JSON}{KIMI[2]}") + SECTION[1],
        (*SECTION, *KIMI),
    ),
    "kimi_k3": Published(
        "<|open|>tools<|sep|>"
        + calls(
            tagged(
                f'<|open|>call tool="{NAME}" index="{{{{ loop.index }}}}"<|sep|>',
                f'<|open|>argument key="{{{{ k }}}}" type="{TYPE}"<|sep|>{VALUE}'
                "<|close|>argument<|sep|>",
                "<|close|>call<|sep|>",
            )
        )
        + "<|close|>tools<|sep|>",
        XTML,
        before='<|open|>message role="',
        behind='"<|sep|>',
        opened="<|open|>think<|sep|>",
        said="{{ m.reasoning_content or '' }}<|close|>think<|sep|><|open|>response<|sep|>"
        "{{ m.content }}<|close|>response<|sep|>",
        back="<|close|>message<|sep|>",
    ),
    "command": Published(
        "<|START_ACTION|>[\n"
        + calls(
            '    {"tool_call_id": "{{ loop.index0 }}", "tool_name": "'
            + NAME
            + f'", "parameters": {JSON}}}',
            ",\n",
        )
        + "\n]<|END_ACTION|>",
        ("<|START_ACTION|>", "<|END_ACTION|>"),
    ),
    "phi": Published(
        "<|tool_call|>[" + calls(OBJECT, ", ") + "]<|/tool_call|>",
        ("<|tool_call|>", "<|/tool_call|>"),
    ),
    "granite": Published("<|tool_call|>[" + calls(OBJECT, ", ") + "]", ("<|tool_call|>",)),
    "jamba": Published("<tool_calls>[" + calls(OBJECT, ", ") + "]</tool_calls>"),
    "apertus": Published(
        "<|tools_prefix|>[" + calls(f'{{"{NAME}": {JSON}}}', ", ") + "]<|tools_suffix|>",
        ("<|tools_prefix|>", "<|tools_suffix|>"),
    ),
    "functionary": Published(calls(f"<function={NAME}>{JSON}</function>")),
    "functionary_v3_2": Published(
        calls(f"{NAME}\n{{{{ c.function.arguments + '' }}}}", ">>>"),
        opened=">>>",
        said="{% if m.content %}all\n{{ m.content }}{{ '>>>' if m.tool_calls }}{% endif %}",
    ),
    "xlam": Published("[" + calls(OBJECT, ", ") + "]"),
    "llama, behind what is said between tokens": Published(
        "<|python_start|>{{ m.content }}<|python_end|>"
        + calls(f'{{"name": "{NAME}", "parameters": {JSON}}}'),
        ("<|python_start|>", "<|python_end|>"),
    ),
    "delimited": Published("<TOOLCALL>[" + calls(OBJECT, ", ") + "]</TOOLCALL>"),
    "qwen_coder": Published(calls(f"<tool_call>\n{tagged(*XML)}</tool_call>", "\n")),
    "glm": Published(
        calls(f"<tool_call>{tagged(NAME + chr(10), ARGUMENT, '')}</tool_call>", "\n"),
        ("<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"),
    ),
    "minimax": Published(
        "<minimax:tool_call>\n" + calls(tagged(*INVOKE, "</invoke>\n")) + "</minimax:tool_call>",
        ("<minimax:tool_call>", "</minimax:tool_call>"),
    ),
    "minimax_m3": Published(
        f"{NESTED}{NS}<tool_call>\n"
        + calls(f'{NS}<invoke name="{NAME}">{{{{ nested(c.function.arguments) }}}}{NS}</invoke>\n')
        + f"{NS}</tool_call>",
        (NS, "<mm:think>", "</mm:think>"),
        said="{% if m.reasoning_content %}<mm:think>{{ m.reasoning_content }}{% endif %}</mm:think>"
        "{{ m.content }}",
    ),
    "seed_oss": Published(
        calls(f"<seed:tool_call>\n{tagged(*SEED)}</seed:tool_call>", "\n"),
        ("<seed:tool_call>", "</seed:tool_call>"),
    ),
    "deepseek_dsml": Published(
        f"<{BAR}DSML{BAR}function_calls>\n{calls(tagged(*DSML))}</{BAR}DSML{BAR}function_calls>"
    ),
    "tagged": Published(
        calls(
            tagged(
                f'<function name="{NAME}">',
                f'<param name="{{{{ k }}}}">{VALUE}</param>',
                "</function>",
            ),
            "\n",
        )
    ),
    "lfm2": Published(
        "<|tool_call_start|>[" + calls(PYTHON, ", ") + "]<|tool_call_end|>",
        ("<|tool_call_start|>", "<|tool_call_end|>"),
    ),
    "olmo": Published("<function_calls>\n" + calls(PYTHON, "\n") + "\n</function_calls>"),
    "pythonic": Published("[" + calls(PYTHON, ", ") + "]"),
    "gemma": Published(
        calls(
            f"<|tool_call>call:{NAME}{{{{ '{{' }}}}{EACH}{{{{ k }}}}:"
            """{{ '<|"|>' + v + '<|"|>' if v is string else v | tojson }}"""
            "{{ ',' if not loop.last }}"
            "{% endfor %}{{ '}' }}<tool_call|>"
        ),
        ("<|tool_call>", "<tool_call|>", '<|"|>'),
    ),
}
"""By the family that they are of; what stands behind a comma tells several of it apart."""
