from __future__ import annotations

from pathlib import Path

import pytest
from ansible.errors import AnsibleLookupError

from ansible_collections.aina.factory.plugins.lookup.projects import _directory


@pytest.mark.parametrize("place", ["site/projects", "projects"])
def test_the_projects_own_files_lie_with_the_inventory_or_beside_its_directory(
    tmp_path: Path, place: str
) -> None:
    inventory = tmp_path / "site"
    inventory.mkdir()

    assert _directory("", str(inventory)) is None

    (tmp_path / place).mkdir(parents=True)
    assert _directory("", str(inventory)) == tmp_path / place


def test_a_place_that_somebody_names_is_there_or_refused(tmp_path: Path) -> None:
    (tmp_path / "projects").mkdir()

    assert _directory(str(tmp_path), str(tmp_path)) == tmp_path
    with pytest.raises(AnsibleLookupError, match=r"factory_projects_dir is .*/elsewhere: no"):
        _directory(str(tmp_path / "elsewhere"), str(tmp_path))
