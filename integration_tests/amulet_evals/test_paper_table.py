"""The paper's table on random weights: its questions, its reward model, a judge."""

import json
from pathlib import Path

from amulet_evals.run.journal import rows
from support.evaluation_runs import cells, run
from support.reward_models import save_armo, save_qwen2


def test_the_paper_s_table_comes_from_one_command(tmp_path: Path) -> None:
    policy = save_qwen2(tmp_path / "qwen2")
    armo = save_armo(tmp_path / "armo")
    rows_of_authors = [{"index": at, "question": f"What is {at}?"} for at in range(4)]
    (tmp_path / "HelpSteer.json").write_text(json.dumps(rows_of_authors))
    done = run(
        *("evaluate", "--out", tmp_path / "run", "--model", policy, "--max-tokens", "8"),
        *("--questions", tmp_path / "HelpSteer.json", "--system", "You are a helpful assistant."),
        *("--reward-model", armo, "--objective", "6", "--objective", "helpsteer-verbosity"),
        *("--judge", "support.judges:make_fair"),
    )
    assert done.exit_code == 0, done.output
    lines = cells(tmp_path / "run" / "report", "ultrafeedback-instruction_following")
    columns = ["creative", "verbose", "concise", "uplifting", "mean"]
    methods = ["base", "pref", "linear_alignment", "auto", "amulet"]
    assert [line["column"] for line in lines] == columns * len(methods)
    assert list(dict.fromkeys(line["method"] for line in lines)) == methods
    assert {line["n"] for line in lines} == {"4"}
    base = {line["mean"] for line in lines[:4]}
    assert len(base) == 4  # one answer, but with each preference it is shown another question
    for metric in ("helpsteer-verbosity", "win_rate"):
        assert len(cells(tmp_path / "run" / "report", metric)) == len(lines)
    scored = [row for row in rows(tmp_path / "run" / "scores.jsonl") if row["scorer"] == str(armo)]
    assert len(scored) == 4 * len(methods) * 4
    assert all(len(row["values"]) == 19 for row in scored)
