"""Put trunk, heads and model card together in small/, from what run.sh trained and tested in the current directory."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from string import Template
from typing import Any

EUROPEAN = "bg de el es fi fr it nl pl pt ro ru sv".split()  # noqa: SIM905
TASKS = {"languages": "accuracy", "upos": "accuracy", "embeddings": "accuracy at 1, mean"}


def main() -> None:
    """Write small/."""
    target = Path("small")
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree("model/model", target)
    for head in ("language", "upos"):
        shutil.copytree(f"model/heads/{head}", target / "heads" / head)
    report = json.loads(Path("model/_xlm/report.json").read_text(encoding="utf-8"))
    config = json.loads((target / "config.json").read_text(encoding="utf-8"))
    (target / "README.md").write_text(render(report, config), encoding="utf-8")


def render(report: dict[str, Any], config: dict[str, Any]) -> str:
    """Return the model card."""
    evaluations = {task: json.loads(Path(f"eval/{task}.json").read_text(encoding="utf-8")) for task in TASKS}
    found = {
        task: {lang: result["metrics"][metric] for lang, result in evaluations[task]["langs"].items()}
        for task, metric in TASKS.items()
    }
    means = {
        task: _percent(evaluations[task]["mean_of_langs"]["metrics"][metric], with_interval=True)
        for task, metric in TASKS.items()
    }
    european = sum(found["embeddings"][lang]["value"] for lang in EUROPEAN) / len(EUROPEAN)
    langs = sorted(set().union(*found.values()))
    rows = [f"| {lang} | {' | '.join(_percent(found[task].get(lang)) for task in TASKS)} |" for lang in langs]
    objectives = [f"| {o['name']} | {o['steps']:,} | {o['loss']:.3f} | {_dev(o)} |" for o in report["objectives"]]
    template = Template(Path(__file__).with_name("card.md").read_text(encoding="utf-8"))
    return template.substitute(
        langs=", ".join(config["lang2id"]),
        num_langs=config["n_langs"],
        layers=config["n_layers"],
        dim=config["emb_dim"],
        heads=config["n_heads"],
        positions=config["max_position_embeddings"],
        vocab=f"{config['vocab_size']:,}",
        parameters=f"{report['model']['num_parameters'] / 1e6:.1f} million",
        num_identified=len(found["languages"]),
        num_tagged=len(found["upos"]),
        num_european=len(EUROPEAN),
        num_retrieved=len(found["embeddings"]),
        languages_only=_percent(evaluations["languages"]["mean_of_langs"]["metrics"]["accuracy"]),
        **{f"{task}_ece": f"{100 * evaluations[task]['all']['ece']:.1f} %" for task in ("languages", "upos")},
        european=f"{100 * european:.1f} %",
        table="\n".join(rows),
        minutes=round(report["seconds"] / 60),
        steps=f"{report['steps']:,}",
        tokens=f"{report['tokens'] / 1e6:.0f} million",
        speed=f"{report['tokens_per_s']:,.0f}",
        objectives="\n".join(objectives),
        **means,
    )


def _percent(metric: dict[str, float] | None, *, with_interval: bool = False) -> str:
    if metric is None:
        return ""
    interval = f" ({100 * metric['low']:.1f} to {100 * metric['high']:.1f})" if with_interval else ""
    return f"{100 * metric['value']:.1f} %{interval}"


def _dev(objective: dict[str, Any]) -> str:
    dev = objective["dev"]
    return "" if dev is None else f"{dev['loss']:.3f}, {100 * dev['accuracy']:.1f} % correct"


if __name__ == "__main__":
    main()
