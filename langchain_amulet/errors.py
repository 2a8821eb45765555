"""The exceptions of the package.

::

    AmuletError
    ├── ConfigurationError (ValueError)      a setting that can never work
    │   ├── ModelNotFoundError               no such folder or Hub id
    │   ├── UnsupportedModelError            not a causal LM that this package can run
    │   ├── MissingExtraError (ImportError)  a package that comes with an extra isn't installed
    │   ├── VocabularyMismatchError          a second model whose tokens aren't the first one's
    │   └── ChatTemplateError                the tokenizer has no usable chat template
    │       └── TemplateLimitError           the template takes too long, or writes too much
    ├── RequestError (ValueError)            one call that can't be answered as asked
    │   ├── EmptyInputError                  nothing to answer
    │   ├── UnsupportedContentError          images, audio and the like for a text model
    │   ├── ContextLengthError               prompt + max_tokens over the context
    │   ├── PreferenceError                  a preference over its limit or malformed
    │   ├── SchemaError                      a schema that no answer can be held to
    │   └── ToolError                        tools or a choice of them that make no sense
    ├── EngineError (RuntimeError)           one call that failed while it ran
    │   ├── QueueFullError                   too many requests are waiting
    │   ├── EngineClosedError                the model was closed
    │   ├── ReentrantCallError               code that a model runs asked the same model
    │   ├── DeadlineError (TimeoutError)     the call's timeout passed
    │   ├── CancelledError                   the call was cancelled from outside
    │   ├── ServerError                      the server that decodes failed, or can't be reached
    │   └── GenerationError                  the model gave NaN, or a constraint failed
    ├── PreferenceStoreError (RuntimeError)  stored preferences that couldn't be read or written
    │   └── PreferenceTimeoutError (TimeoutError)  the store gave no answer in time
    └── CorruptProfileError (ValueError)     what is stored for a user isn't a profile

    PreferenceWarning (UserWarning)          an answer that went on without a preference
    SettingWarning (UserWarning)             an answer that went on without a setting

Where langchain-core has an exception for the same condition, ours is one of those too, so that
its retries and fallbacks know what is worth another try: ModelNotFoundError,
ModelInvalidRequestError (RequestError), ContextOverflowError (ContextLengthError),
ModelRateLimitError (QueueFullError), ModelTimeoutError (DeadlineError) and ModelConnectionError
(ServerError).

A wrong value raises the same wherever it is given, to a model or to one of its calls: what is
wrong with a setting by itself, its name included, is a ConfigurationError. A RequestError is about
what is asked: messages, preferences, tools, formats, and settings that don't go with these.

Every message says the rule that was broken, the value that broke it and what to do instead.
A failure belongs to one call: the other requests of the same batch go on.
This module knows nothing but langchain-core's own exceptions.
"""

from __future__ import annotations

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelConnectionError,
    ModelInvalidRequestError,
    ModelRateLimitError,
    ModelTimeoutError,
)
from langchain_core.exceptions import ModelNotFoundError as CoreModelNotFoundError


class AmuletError(Exception):
    """Root of all errors that this package raises on purpose."""


class ConfigurationError(AmuletError, ValueError):
    """A setting that can never work, found before anything is decoded."""


class ModelNotFoundError(ConfigurationError, CoreModelNotFoundError):
    """No local folder and no reachable Hub repository has the model's name."""


class UnsupportedModelError(ConfigurationError):
    """The model is not a causal language model that this package can run."""


class MissingExtraError(ConfigurationError, ImportError):
    """Something needs a package that comes with an extra of this one, and isn't installed."""


class VocabularyMismatchError(ConfigurationError):
    """A method's second model has other tokens than the one that answers."""


class ChatTemplateError(ConfigurationError):
    """The tokenizer has no chat template, or the template refuses the conversation."""


class TemplateLimitError(ChatTemplateError):
    """The chat template takes too long to write a prompt, or writes too much."""


class RequestError(AmuletError, ModelInvalidRequestError, ValueError):
    """One call that can't be answered as asked."""


class EmptyInputError(RequestError):
    """The call holds no message, or no text."""


class UnsupportedContentError(RequestError):
    """A message holds content that a text model can't read."""


class ContextLengthError(RequestError, ContextOverflowError):
    """The prompt and ``max_tokens`` together don't fit the model's context."""


class PreferenceError(RequestError):
    """A preference is over its length limit, or isn't a preference at all."""


class SchemaError(RequestError):
    """A schema that can't be enforced while decoding; nothing was decoded."""


class ToolError(RequestError):
    """A tool that isn't one, or a choice of a tool that wasn't offered."""


class EngineError(AmuletError, RuntimeError):
    """One call that failed while it ran."""


class QueueFullError(EngineError, ModelRateLimitError):
    """Too many requests are waiting for the model."""


class EngineClosedError(EngineError):
    """The model was closed before the call ended."""


class ReentrantCallError(EngineError):
    """Code that a model's engine runs, such as a utility, asked the same model for an answer."""


class DeadlineError(EngineError, ModelTimeoutError, TimeoutError):
    """The call's timeout passed before the answer was whole."""


class CancelledError(EngineError):
    """The call was cancelled from outside."""


class ServerError(EngineError, ModelConnectionError):
    """The server that decodes for this process failed, or can't be reached."""


class GenerationError(EngineError):
    """The model gave no usable distribution, or the call's constraint failed."""


class PreferenceStoreError(AmuletError, RuntimeError):
    """The store of preferences failed, or can't be used in this way."""


class PreferenceTimeoutError(PreferenceStoreError, TimeoutError):
    """The store of preferences gave no answer in time."""


class CorruptProfileError(AmuletError, ValueError):
    """What is stored for a user can't be read as preferences."""


class PreferenceWarning(UserWarning):
    """An answer went on without a preference: the program chose so, or misspelled its name."""


class SettingWarning(UserWarning):
    """An answer went on without a setting that stands where none is looked for."""
