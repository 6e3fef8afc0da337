"""The files as which a model leaves, by name."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import skops.io
from lightgbm import LGBMModel

from retuned_pipelines.handout.card import card
from retuned_pipelines.handout.estimator import estimator_of
from retuned_pipelines.handout.manifest import Form, Manifest, NoSuchForm
from retuned_pipelines.handout.snippets import (
    lightgbm_snippet,
    mlflow_loader,
    mlflow_snippet,
    skops_snippet,
)
from retuned_pipelines.models.artifact import FOREIGN, TRUSTED
from retuned_pipelines.models.families import SERVED

if TYPE_CHECKING:
    from retuned_pipelines.fitting import FittedModel

CARD, PROGRAM = "MODEL_CARD.md", "load.py"
LOADER = "retuned_model"
ALIGNED = "retuned_pipelines.handout.aligned.AlignedClassifier"


def bundle(manifest: Manifest, form: Form) -> dict[str, bytes]:
    """The files of a model, with its card and a program that loads it.

    Raises:
        NoSuchForm: it is not one LightGBM model, and LightGBM's text was asked for.
    """
    pack = {Form.SKOPS: _skops, Form.LIGHTGBM: _lightgbm, Form.MLFLOW: _mlflow}[form]
    return {name: text.encode() for name, text in pack(manifest).items()} | _binary(manifest, form)


def trusted_types(manifest: Manifest) -> tuple[str, ...]:
    """The types that loading its skops file has to trust: a fixed list, not what the file asks."""
    is_foreign = any(model.recipe.is_foreign for _, _, model in manifest.asked)
    known = FOREIGN if is_foreign else TRUSTED
    is_aligned = any(model.classes != manifest.classes for _, _, model in manifest.asked)
    return (*known, ALIGNED) if is_aligned else known


def _binary(manifest: Manifest, form: Form) -> dict[str, bytes]:
    if form is Form.LIGHTGBM:
        return {}
    estimator = estimator_of(manifest.shares, manifest.classes)
    return {"model.skops": skops.io.dumps(estimator)}


def _skops(manifest: Manifest) -> dict[str, str]:
    snippet = skops_snippet(
        manifest.features, trusted_types(manifest), is_classes=bool(manifest.classes)
    )
    files = {
        "model.skops": "the model, a scikit-learn estimator for data frames with the features' "
        "names (or matrices in their order). skops loads it with the types that `load.py` trusts; "
        + _needs(manifest),
        PROGRAM: "`python load.py < rows.json` predicts a JSON array of objects.",
    }
    return {CARD: card(manifest, snippet, files), PROGRAM: snippet}


def _lightgbm(manifest: Manifest) -> dict[str, str]:
    model = _only(manifest)
    booster = model.estimator.steps[-1][1].booster_
    snippet = lightgbm_snippet()
    files = {
        "model.txt": "the model in LightGBM's own text, which its library reads in any language.",
        "features.json": "how a row becomes numbers: the features in order, the categories by "
        "code, and what is appended (`more`).",
        PROGRAM: "`python load.py < rows.json` predicts a JSON array of objects; needs lightgbm "
        "and numpy.",
    }
    return {
        CARD: card(manifest, snippet, files),
        PROGRAM: snippet,
        "model.txt": booster.model_to_string(),
        "features.json": json.dumps(_encoding(model), indent=1),
    }


def _only(manifest: Manifest) -> FittedModel:
    asked = manifest.asked
    model = asked[0][2]
    is_one = len(asked) == 1 and not model.recipe.is_foreign
    if is_one and isinstance(model.estimator.steps[-1][1], LGBMModel):
        return model
    families = Counter(member.recipe.family for member, _, _ in asked)
    told = ", ".join(f"{count} {family}" for family, count in families.items())
    message = (
        f"{manifest.name} is not one LightGBM model ({told}): "
        "ask for skops, or let one answer at a time (SERVE__MAX_MEMBERS=1)"
    )
    raise NoSuchForm(message)


def _encoding(model: FittedModel) -> dict[str, object]:
    recipe = model.recipe
    takes_time = recipe.past.time_feature and SERVED[recipe.family].takes_time
    return {
        "features": model.layout.schema.to_json(),
        "categories": {name: list(known) for name, known in model.layout.vocabularies.items()},
        "classes": [json.loads(name) for name in model.classes],
        # Later than all that was learned from, see `handout.estimator`.
        "more": [1.0] if takes_time else [],
    }


def _mlflow(manifest: Manifest) -> dict[str, str]:
    loader = mlflow_loader(manifest.features, trusted_types(manifest))
    snippet = mlflow_snippet()
    files = {
        "MLmodel": "says how MLflow loads it (`mlflow models serve -m .`, `mlflow.pyfunc`).",
        "model.skops": "the model, a scikit-learn estimator; " + _needs(manifest),
        f"code/{LOADER}.py": "loads it; trusts a fixed list of types, and unpickles nothing.",
        PROGRAM: "`python load.py < rows.json` predicts a JSON array of objects; needs mlflow "
        "(`pip install retuned[mlflow]`, or mlflow-skinny).",
    }
    return {
        CARD: card(manifest, snippet, files),
        PROGRAM: snippet,
        "MLmodel": _mlmodel(manifest),
        f"code/{LOADER}.py": loader,
        "requirements.txt": _requirements(manifest),
        "python_env.yaml": f"python: {json.dumps(manifest.python)}\n"
        "dependencies:\n- -r requirements.txt\n",
    }


def _mlmodel(manifest: Manifest) -> str:
    """The python_function flavor with a loader module, as MLflow documents it.

    No signature: MLflow would refuse columns of whole numbers where it says double.
    """
    return (
        "flavors:\n"
        "  python_function:\n"
        "    code: code\n"
        "    data: model.skops\n"
        "    env:\n"
        "      virtualenv: python_env.yaml\n"
        f"    loader_module: {LOADER}\n"
        f"    python_version: {json.dumps(manifest.python)}\n"
        "metadata:\n"
        f"  retuned_model: {json.dumps(manifest.version.model)}\n"
        f"  retuned_version: {json.dumps(manifest.revision.name)}\n"
    )


def _requirements(manifest: Manifest) -> str:
    pinned = [f"{name}=={found}" for name, found in manifest.revision.libraries.items()]
    own = [f"retuned=={manifest.release}"] if ALIGNED in trusted_types(manifest) else []
    return "\n".join([*pinned, "pandas", *own]) + "\n"


def _needs(manifest: Manifest) -> str:
    if ALIGNED in trusted_types(manifest):
        return "it needs the retuned package, since some members know fewer classes than others."
    return "retuned itself is not needed."
