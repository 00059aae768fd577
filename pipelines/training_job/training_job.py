"""The settings of a training job, as read from a job file. They are validated without any I/O."""

from typing import Self

from pydantic import Field, model_validator

from pipelines.job import FixedLang, InputSettings, TokenizerSettings
from pipelines.settings import JobName, Settings, Violation, violations
from pipelines.storage import StoreSettings
from pipelines.training_job.objectives import (
    OBJECTIVES,
    AnyObjective,
    CausalSettings,
    DevSettings,
    MaskedSettings,
    SplitSettings,
)
from pipelines.training_job.sections import (
    TrainedModelSettings,
    TrainingComputeSettings,
    TrainingOutputSettings,
    TrainingPolicySettings,
    TrainingSettings,
)


class TrainingJob(Settings):
    """A job that trains a model, or heads, for one or more objectives."""

    name: JobName = "xlm-training"
    model: TrainedModelSettings = Field(description="The model to train.")
    objectives: list[AnyObjective] = Field(
        min_length=1, description="What is learned; each step trains one of the objectives."
    )
    training: TrainingSettings = Field(description="How the weights are updated.")
    tokenizer: TokenizerSettings = Field(
        default=TokenizerSettings(), description="How text is converted to tokens, as in other jobs."
    )
    storage: tuple[StoreSettings, ...] = Field(
        default=(), strict=False, description="Options of object stores, as in other jobs."
    )
    output: TrainingOutputSettings = Field(description="Where the checkpoint is written.")
    policy: TrainingPolicySettings = Field(
        default=TrainingPolicySettings(), description="What to do with rows that cannot be used."
    )
    compute: TrainingComputeSettings = Field(
        default=TrainingComputeSettings(), description="Where the training runs, and with how many processes."
    )

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if found := [*self._check_model(), *self._check_objectives(), *self._check_training()]:
            raise violations(*found)
        return self

    def _check_model(self) -> list[Violation]:
        model = self.model
        if (model.checkpoint is None) == (model.config is None):
            return [(("model",), "needs a checkpoint to train further, or config and tokenizer of a new model")]
        if (model.config is None) != (model.tokenizer is None):
            return [(("model", "tokenizer"), "is for a new model with config; a checkpoint has its own")]
        if model.init != "random" and model.config is None:
            return [(("model", "init"), "is for a new model with config; remove it")]
        if model.freeze and model.checkpoint is None:
            return [(("model", "freeze"), "only the trunk of a checkpoint can be frozen")]
        return []

    def _check_objectives(self) -> list[Violation]:
        found: list[Violation] = []
        titles = [objective.title for objective in self.objectives]
        for i, objective in enumerate(self.objectives):
            if objective.title in titles[:i]:
                found.append((("objectives", i), f"two objectives have the name {objective.title}; set name"))
            is_causal = isinstance(objective, CausalSettings) and not isinstance(objective, MaskedSettings)
            if is_causal and len(titles) > 1:
                found.append((("objectives", i), "a causal model cannot be trained for other objectives as well"))
            if self.model.freeze and not objective.trains_head:
                found.append((("objectives", i), f"{objective.kind} trains the trunk; remove model.freeze"))
            if self.model.freeze and isinstance(objective, SplitSettings) and objective.bpe_dropout:
                message = "a frozen trunk runs once on each row; remove it, or model.freeze"
                found.append((("objectives", i, objective.kind, "bpe_dropout"), message))
        return found

    def _check_training(self) -> list[Violation]:
        training = self.training
        found: list[Violation] = []
        if (training.steps is None) == (training.epochs is None):
            found.append((("training",), "needs either steps or epochs"))
        elif training.epochs is not None and len(self.objectives) > 1:
            found.append((("training", "epochs"), "several objectives have epochs of different lengths; set steps"))
        if self.tokenizer.on_overflow == "window":
            found.append((("tokenizer", "on_overflow"), "a training does not split rows; set truncate or reject"))
        if training.patience is not None and all(objective.dev is None for objective in self.objectives):
            found.append((("training", "patience"), "no objective has rows in dev to evaluate; set dev"))
        return found


TRAINING_SECTIONS: dict[str, type[Settings]] = {
    "model": TrainedModelSettings,
    "training": TrainingSettings,
    "tokenizer": TokenizerSettings,
    "output": TrainingOutputSettings,
    "policy": TrainingPolicySettings,
    "compute": TrainingComputeSettings,
}


def training_settings_at(path: tuple[str | int, ...]) -> type[Settings] | None:
    """Return the class of the settings at a path in a training job, such as ("objectives", 0, "question-answering")."""
    match path:
        case ():
            return TrainingJob
        case ("storage", int()):
            return StoreSettings
        case ("objectives", int(), str(kind)):
            return OBJECTIVES.get(kind)
        case ("objectives", int(), str(), "input"):
            return InputSettings
        case ("objectives", int(), str(), "dev"):
            return DevSettings
        case ("objectives", int(), str(), "input", "lang") | ("objectives", int(), str(), "second_lang"):
            return FixedLang
        case (str(section),):
            return TRAINING_SECTIONS.get(section)
        case _:
            return None
