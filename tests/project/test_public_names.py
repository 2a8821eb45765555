"""The public names of each module, pinned: adding or taking away one is a decision.

Where a list is meant to change, the failing test shows the new one, which is pasted here.
"""

import importlib
from types import ModuleType

import pytest

PUBLIC = {
    "langchain_amulet": "Amulet ChatAmulet Preference PreferenceMemory errors",
    "langchain_amulet.chat_formats": """
        Bare CallRegion ChatFormat Delimited Function FunctionCall Hermes JsonCallFormat
        JsonCallParser JsonCallShape Llama Marked Mistral OutputParser OutputPart PythonCallFormat
        PythonShape TaggedCallFormat TaggedShape TemplateSample Thinking arguments_schema
        broken_call register
    """,
    "langchain_amulet.chat_models": "ChatAmulet",
    "langchain_amulet.cli": "app",
    "langchain_amulet.engine": """
        AnyEngine BeamResult CacheScope Constraint DraftCounts Engine Finish HuggingFaceModel
        LoadOptions
        LoadedModel ModelRuntime Pause Request Stats Token TokenStream Trace acquire
        declared_context load release
    """,
    "langchain_amulet.engine.backends": """
        BACKENDS Backend BackendLoader Beams CacheScope CacheUse CandidateQuery PROCESS HUGGING_FACE
        HuggingFaceModel LoadOptions LoadedModel ModelInfo Prompts Slot StepLogits Steps
        UncachedModel check_backend import_backend load load_huggingface register
    """,
    "langchain_amulet.errors": """
        AmuletError CancelledError ChatTemplateError ConfigurationError ContextLengthError
        CorruptProfileError DeadlineError EmptyInputError EngineClosedError EngineError
        GenerationError MissingExtraError ModelNotFoundError PreferenceError PreferenceStoreError
        PreferenceTimeoutError PreferenceWarning QueueFullError ReentrantCallError RequestError
        SchemaError ServerError SettingWarning TemplateLimitError ToolError UnsupportedContentError
        UnsupportedModelError VocabularyMismatchError
    """,
    "langchain_amulet.grammar": "Grammar GrammarCompiler Resumption json_rule",
    "langchain_amulet.memory": """
        Change Limits Matcher PreferenceExtractor PreferenceMemory PreferenceSource
        PreferenceStore Profile Resembles ResolverMemory SimplePreferenceStore StoredPreference
        as_memory as_store mentions preference_tools
    """,
    "langchain_amulet.methods": """
        Amulet Auto Base BeamPlan BeamSearch BestOf CODE Candidate ContextSteering DeRa Drift
        Guidance GuidedReranking Iterated LinearAlignment METHODS Method PAD Pref ProxyTuning
        Ranking STRENGTHS SearchPlan as_method prompted register resolve_strength spell
        unique_key
    """,
    "langchain_amulet.middleware": "ExtractionMiddleware PreferenceMiddleware",
    "langchain_amulet.preferences": "PRESETS Preference TRAITS Trait",
    "langchain_amulet.sampling": "Drawn SamplingBatch SamplingParams draw penalize",
    "langchain_amulet.steering": """
        Contrast Mask Plan PlanBatch Plausibility Solver Steered Stream TopK TopP Utility agreement
        amulet_utility combine floors iterate kept kl levelled mixture steer strength strengths
    """,
    "langchain_amulet.trace": "as_factor distance level ratio",
    "amulet_evals": """
        Decoding Evaluation QuestionSource RewardSettings Scoring evaluate report score
    """,
    "amulet_server": "ServerSettings Service create_app opened read_settings",
}


def public(module: ModuleType) -> list[str]:
    """What a module lists, or else the classes and functions that are defined in it."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    )


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_s_public_names_are_these(name: str) -> None:
    assert public(importlib.import_module(name)) == sorted(PUBLIC[name].split())


@pytest.mark.parametrize("name", PUBLIC)
def test_a_module_has_all_the_names_that_it_lists(name: str) -> None:
    module = importlib.import_module(name)
    assert [each for each in public(module) if not hasattr(module, each)] == []
