"""What a recipe does against imbalance, and where it cannot."""

from __future__ import annotations

import pytest

from hugbench.errors import UserError
from hugbench.suite.continual import check_recipe
from hugbench.suite.schema import Recipe

RECIPE = {"epochs": 2, "batch_size": 8, "lr": 0.1}


@pytest.mark.parametrize(
    ("key", "value"),
    [("sampling", "class_balanced"), ("class_weights", {"kind": "inverse_frequency"})],
)
def test_streams_refuse_it(key: str, value: object) -> None:
    check_recipe(Recipe.model_validate(RECIPE))
    with pytest.raises(UserError, match=rf"recipe\.{key}: not in a class-incremental stream"):
        check_recipe(Recipe.model_validate({**RECIPE, key: value}))
