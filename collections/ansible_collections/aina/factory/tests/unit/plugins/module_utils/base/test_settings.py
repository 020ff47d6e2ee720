from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from factory.core.base import settings
from factory.core.base.configuration import ConfigurationError, Section
from factory.core.base.settings import REQUIRED, setting


@dataclass(frozen=True)
class Limits:
    """What one kind may hold."""

    max_age_days: float = setting(14, "Older than this goes.", minimum=0)
    max_per_run: int = setting(1000, "At most this many go.", minimum=1)


@dataclass(frozen=True)
class Place:
    """One place."""

    name: str = setting(REQUIRED, "Its name.", form=("[a-z]+", "be small letters"))
    path: str = setting(REQUIRED, "Where it is.", kind="path")


@dataclass(frozen=True)
class Wish:
    """A wish that may be a mere yes."""

    enabled: bool = setting(True, "Whether it is wanted.")
    tries: int = setting(2, "How often.")


@dataclass(frozen=True)
class Sample:
    """All that a setting can be."""

    renamed: ClassVar[Mapping[str, str]] = {"agents": "agents, at the top"}

    low_percent: float = setting(70, "Down to here.", minimum=1, maximum=99)
    high_percent: float = setting(80, "From here on.", minimum=1, maximum=99)
    count: int = setting(3, "How many.")
    mode: str = setting("fast", "How.", choices=("fast", "strict"))
    url: str = setting("", "Where it answers.", kind="https_url")
    is_strict: bool = setting(False, "Whether.")
    labels: tuple[str, ...] = setting(("hold",), "Which.", adds=True)
    words: tuple[str, ...] = setting(("a", "b"), "Which.", adds=False)
    roots: tuple[str, ...] = setting((), "Where.", kind="path")
    tools: Mapping[str, str] = setting({"node": "22"}, "Versions.", adds=True)
    logins: Mapping[str, Limits] = setting({}, "By who asks.", keys=("lanes", "marshal"))
    limits: Limits = setting(Limits(max_age_days=30), "Limits.")
    places: tuple[Place, ...] = setting((), "Places.", unique=("name",))
    hosts: tuple[Place, ...] = setting((), "Places that are called by name.", named="name")
    secrets: Mapping[str, str] = setting({}, "By name.", names=("[A-Z]+", "map big letters"))
    wish: Wish | None = setting(None, "A wish.", short="enabled")
    free: Mapping[str, object] = setting({}, "Anything.")
    state_dir: str = setting("/var/lib/x", "Where it remembers.", kind="path", by="role")

    def contradictions(self) -> Iterator[tuple[str, ...]]:
        if self.low_percent >= self.high_percent:
            yield "low_percent", f"be below high_percent, which is {self.high_percent:g}"
        for name, value in self.secrets.items():
            if not value:
                yield "secrets", "hold something", name


def read(**given: Any) -> Sample:
    return settings.read(Sample, Section(given, "sample"))


def test_what_is_left_out_or_null_keeps_its_default() -> None:
    assert read() == read(count=None) == Sample()
    assert read().limits == Limits(max_age_days=30, max_per_run=1000)


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ({"low_percent": 5}, "low_percent", 5),
        ({"labels": ["stop", "hold"]}, "labels", ("hold", "stop")),
        ({"words": ["c"]}, "words", ("c",)),
        ({"tools": {"pnpm": "10"}}, "tools", {"node": "22", "pnpm": "10"}),
        ({"roots": ["/srv/", "/"]}, "roots", ("/srv", "/")),
        ({"url": "https://x.example/api/"}, "url", "https://x.example/api"),
        ({"url": ""}, "url", ""),
        # What is left out of a nested section keeps the default of that very place.
        ({"limits": {"max_per_run": 2}}, "limits", Limits(max_age_days=30, max_per_run=2)),
        ({"logins": {"lanes": {}}}, "logins", {"lanes": Limits()}),
        ({"places": [{"name": "a", "path": "/a"}]}, "places", (Place(name="a", path="/a"),)),
        ({"wish": True}, "wish", Wish()),
        ({"wish": {"tries": 3}}, "wish", Wish(tries=3)),
        ({"free": {"x": [1]}}, "free", {"x": [1]}),
    ],
)
def test_a_value_is_read_as_it_is_declared(given: dict[str, Any], key: str, value: Any) -> None:
    assert getattr(read(**given), key) == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"low_percent": 0}, "sample.low_percent is 0; it must lie between 1 and 99"),
        (
            {"low_percent": 90},
            "sample.low_percent is 90; it must be below high_percent, which is 80",
        ),
        ({"count": 1.5}, "sample.count is 1.5; it must be a whole number"),
        ({"mode": "slow"}, "sample.mode is 'slow'; it must be one of fast, strict"),
        ({"url": "http://x"}, "sample.url is 'http://x'; it must be an https address"),
        ({"labels": "hold"}, "sample.labels is 'hold'; it must be a list of strings"),
        ({"labels": ["a", 3]}, "sample.labels[1] is 3; it must be a string"),
        ({"roots": ["srv"]}, "sample.roots[0] is 'srv'; it must be an absolute path"),
        ({"tools": {"node": 22}}, "sample.tools.node is 22; it must be a string"),
        ({"tools": ["node"]}, "sample.tools is ['node']; it must map names to strings"),
        ({"logins": {"lane": {}}}, "sample.logins.lane is not known; did you mean lanes?"),
        ({"limits": {"max_per_run": 0}}, "sample.limits.max_per_run is 0; it must be at least 1"),
        ({"limits": 3}, "sample.limits is 3; it must be a mapping"),
        ({"limits": {"max_age": 1}}, "sample.limits.max_age is not known; did you mean"),
        ({"places": [{"name": "a"}]}, "sample.places[0].path is missing"),
        ({"places": [{"name": "A", "path": "/"}]}, "places[0].name is 'A'; it must be small"),
        ({"places": [{"name": "a", "path": "/"}] * 2}, "sample.places: name 'a' is declared twice"),
        ({"hosts": [{"name": "a", "path": "b"}]}, "sample.hosts.a.path is 'b'; it must be an abs"),
        ({"hosts": [{"name": "A", "path": "/"}]}, "sample.hosts[0].name is 'A'; it must be small"),
        ({"hosts": [{"name": "a", "path": "/"}] * 2}, "sample.hosts: name 'a' is declared twice"),
        ({"secrets": {"a": "hidden"}}, "sample.secrets is 'a'; it must map big letters"),
        ({"secrets": {"A": ""}}, "sample.secrets is 'A'; it must hold something"),
        ({"wish": "x"}, "sample.wish.enabled is 'x'; it must be true or false"),
        ({"cuont": 1}, "sample.cuont is not known; did you mean count?"),
        ({"agents": []}, "sample.agents is now agents, at the top"),
    ],
)
def test_a_wrong_value_is_named_with_its_place_and_rule(
    given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read(**given)

    assert message in str(refused.value)


def test_a_key_of_others_is_refused_or_left_alone_as_the_reader_says() -> None:
    section = Section({"count": 4, "other": 1}, "sample")

    assert settings.read_some(Sample, section).count == 4
    with pytest.raises(ConfigurationError, match="known are"):
        settings.read(Sample, section)


def test_a_module_takes_what_the_site_may_set() -> None:
    spec = settings.argument_spec(Sample)

    assert "state_dir" not in spec
    assert spec["mode"] == {"type": "str", "choices": ["fast", "strict"], "default": "fast"}
    assert spec["labels"] == {"type": "list", "elements": "str", "default": []}
    assert spec["words"]["default"] == ["a", "b"]
    assert spec["limits"]["options"]["max_age_days"] == {"type": "float", "default": 30}
    assert spec["places"]["options"]["path"] == {"type": "path", "required": True}
    assert spec["wish"] == {"type": "raw"}


def test_a_list_with_a_default_must_say_whether_it_adds() -> None:
    @dataclass(frozen=True)
    class Unclear:
        labels: tuple[str, ...] = setting(("hold",), "Which.")

    with pytest.raises(TypeError, match=r"Unclear\.labels: adds must say"):
        settings.settings_of(Unclear)


# -- several things at once, and what is not known yet -------------------------------------


@dataclass(frozen=True)
class Mark:
    """Two marks of one quantity."""

    title: str
    at: float = setting(REQUIRED, "Where it begins.", key="from", minimum=0)
    low: float = setting(1, "Where it ends.", minimum=0)

    def fitted(self, given: Section) -> Mark:
        """Return defaults for what is given."""
        return Mark(self.title, at=self.at, low=min(self.low, given.number("from", self.at)))


@dataclass(frozen=True)
class Marks:
    """A section."""

    renamed: ClassVar[Mapping[str, str]] = {"hight": "high"}

    high: Mark = setting(Mark("high", at=9, low=5), "The high one.")
    places: tuple[Place, ...] = setting((), "Places.", unique=("name",))
    count: int = setting(1, "How many.", minimum=1)
    limit: int = setting(5, "Of how many.")

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield a count beyond the limit."""
        if self.count > self.limit:
            yield "count", f"not exceed limit, which is {self.limit}"


def problems(values: Mapping[str, Any]) -> list[str]:
    with pytest.raises(ConfigurationError) as error:
        settings.read(Marks, Section(values, "marks"))
    return list(error.value.problems)


def test_all_that_is_wrong_is_said_at_once() -> None:
    place = {"name": "X", "paht": "/x"}

    found = problems({"hight": 1, "high": {"form": 3}, "places": [place, 5], "count": 0, "lmit": 2})

    assert found == [
        "marks.hight is now high",
        "marks.high.form is not known; did you mean from?",
        "marks.places[0].name is 'X'; it must be small letters",
        "marks.places[0].path is missing",
        "marks.places[0].paht is not known; did you mean path?",
        "marks.places[1] is 5; it must be a mapping",
        "marks.count is 0; it must be at least 1",
        "marks.lmit is not known; did you mean limit?",
    ]


def test_a_part_of_a_default_keeps_the_rest_and_may_move_it() -> None:
    assert settings.read(Marks, Section({"high": {"low": 2}}, "marks")).high == Mark(
        "high", at=9, low=2
    )
    assert settings.read(Marks, Section({"high": {"from": 3}}, "marks")).high == Mark(
        "high", at=3, low=3
    )


@pytest.mark.parametrize(
    "values",
    [
        {"count": settings.LATER},
        {"count": 7, "limit": settings.LATER},
        {"high": settings.LATER},
        {"high": {"from": settings.LATER}, "count": settings.LATER},
        {"places": [{"name": settings.LATER, "path": "/"}] * 2},
        {"places": [settings.LATER, settings.LATER]},
    ],
)
def test_of_what_is_not_known_yet_nothing_is_said(values: Mapping[str, Any]) -> None:
    settings.read(Marks, Section(values, "marks"))


def test_beside_what_is_not_known_yet_the_rest_is_judged() -> None:
    assert problems({"places": settings.LATER, "count": 7}) == [
        "marks.count is 7; it must not exceed limit, which is 5"
    ]
    values = {"high": {"from": settings.LATER, "lwo": 2}, "count": 0}

    assert problems(values) == [
        "marks.high.lwo is not known; did you mean low?",
        "marks.count is 0; it must be at least 1",
    ]
