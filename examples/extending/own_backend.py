"""A backend of one's own: several models that answer as one, by the mean of what they find likely.

``python own_backend.py`` answers by it; docs/extending/backend.md says what each part is for.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from langchain_amulet import ChatAmulet
from langchain_amulet.engine import backends


class Average(backends.UncachedModel):
    """Models with the same tokens, which read everything anew at each step."""

    def __init__(self, models: Sequence[backends.HuggingFaceModel]) -> None:
        """Take the tokenizer, and what is to be known of them all, from the first one."""
        super().__init__(models[0].tokenizer, models[0].info)
        self.models = [each.model for each in models]

    def next_logits(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """The mean log-probabilities of what follows each sequence."""
        return torch.stack([self.follows(torch.tensor([[*ids]])) for ids in sequences])

    def follows(self, ids: Tensor) -> Tensor:
        """The same for one."""
        found = [model(ids.to(model.device)).logits[0, -1].cpu() for model in self.models]
        return torch.stack(found).log_softmax(-1).mean(0)


@backends.register("average")
def load(model_id: str, options: backends.LoadOptions) -> Average:
    """What ``ChatAmulet(model="one+other", backend="average")`` answers by."""
    options = replace(options, backend="auto")
    return Average([backends.load_huggingface(each, options) for each in model_id.split("+")])


def main(model: str = "pocket+pocket") -> None:
    """Answer by the mean of two models, which here are one and the same."""
    with ChatAmulet(model=model, backend="average", temperature=0, dtype="float32") as llm:
        print(llm.invoke("How can I save money?", preference="Be uplifting.").text)


if __name__ == "__main__":
    main()
