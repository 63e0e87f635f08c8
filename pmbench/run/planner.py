"""Asks methods for their stages; the only part of planning that runs their code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..contracts.method import Method
from ..contracts.recipe import Recipe
from ..contracts.setting import Setting
from ..data.access import only
from ..errors import PluginError, PmbenchError, Unsupported, UsageError
from ..store.documents import StageDocument, write_stages


@dataclass(frozen=True)
class CellStages:
    """The stages of a method in a setting, the last one at the end, or why there are none.

    `skip`: the method does not support the setting. `failure`: its plan failed. `error`: the user's options
    are wrong.
    """

    stages: tuple[StageDocument, ...] = ()
    skip: str = ""
    failure: str = ""
    error: UsageError | None = None


def stages_of(
    method: Method, setting: Setting, options: Mapping[str, Any], recipe: Recipe, hidden: Path
) -> CellStages:
    """Calls the plan of a method, which may not open files in the folder `hidden`."""
    try:
        with only(f"the plan of {method.name!r}", [hidden], []):
            stages = write_stages(method.last_stage(setting, **options), recipe)
        for stage in stages:
            if unknown := set(stage.reads) - set(setting.all):
                raise PluginError(
                    f"stage {stage.kind} reads {sorted(unknown)}; the setting has {setting.all}"
                )
        return CellStages(tuple(stages))
    except Unsupported as error:
        return CellStages(skip=error.message)
    except UsageError as error:
        return CellStages(error=error)
    except PmbenchError as error:
        return CellStages(failure=f"plan of {method.name}: {error.message}")
    except (Exception, SystemExit) as error:
        return CellStages(failure=f"plan of {method.name} raised {type(error).__name__}: {error}")
