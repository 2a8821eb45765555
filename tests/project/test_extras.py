"""What is imported without the extra that brings its packages says which one to install."""

import subprocess
import sys

import pytest

PARTS = {
    "import langchain_amulet.middleware": ("langchain", "agents"),
    "from langchain_amulet.middleware import PreferenceMiddleware": ("langchain", "agents"),
    "from amulet_evals import evaluate": ("textblob", "evaluate"),
    "from amulet_evals import report": ("matplotlib", "evaluate"),
}


@pytest.mark.parametrize("statement", PARTS, ids=PARTS)
def test_a_missing_extra_is_an_error_that_says_how_to_install_it(statement: str) -> None:
    """In a process of its own, where the package can't be imported."""
    package, extra = PARTS[statement]
    code = f"""if True:
        import sys
        sys.modules[{package!r}] = None
        try:
            {statement}
        except ImportError as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "MissingExtraError" in done.stdout
    assert f"the package {package}, which isn't installed" in done.stdout
    assert f"pip install 'langchain-amulet[{extra}]'" in done.stdout
