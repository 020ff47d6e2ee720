"""Build what changed, let it prove itself, and only then put it in force.

A candidate has a name of its own until it has passed: whoever starts a container in the
meantime gets the former image. A build that is killed leaves the former one in force.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..base import documents, files, times
from ..base.configuration import ConfigurationError
from ..base.docker import DockerError
from ..base.errors import FactoryError
from ..base.github.release import ReleaseError
from ..base.ports import Fetch, Now, Run
from . import bill, layers
from .base import Bases
from .catalogue import CI, FOUNDATION, Artifact, Spec, catalogue
from .engine import EngineImage, ImageEngine
from .plan import BASE_LABEL, CONTENT_LABEL, BuildStep, plan
from .runner import Releases, RunnerArchive
from .settings import PREFIX, PROBLEM, ImagesSettings

LOCK = "factory-images.lock"
SMOKE_SECONDS = 300.0
SAVE_SECONDS = 1800.0
# Nothing of the site, no network, no way to write: what an image proves it proves by itself.
_CONFINED = (
    *("run", "--rm", "--interactive", "--network=none", "--read-only", "--cap-drop=ALL"),
    *("--security-opt=no-new-privileges", "--tmpfs=/tmp:rw,exec,size=256m", "--pids-limit=256"),
    *("--label=aina-factory.role=smoke",),
)
# As root with nothing but the right to look everywhere.
_AS_ROOT = ("--user=0:0", "--cap-add=DAC_OVERRIDE", "--entrypoint=/bin/sh")
# On a root that cannot be written.
_AUDIT = b"""
set -eu
found=$(find / -xdev -type f -perm /6000)
[ -z "$found" ] || { echo "has setuid or setgid files:" $found; exit 1; }
! command -v sudo >/dev/null || { echo "has sudo"; exit 1; }
"""


class CandidateError(FactoryError):
    """A candidate did not pass; the message says what it failed at."""


@dataclass(frozen=True)
class BuildTools:
    """The effects of a build; ``progress`` is told what happens."""

    run: Run
    now: Now
    fetch: Fetch
    machine: str
    progress: Callable[[str], None] = lambda _message: None


@dataclass
class BuildReport:
    """What a run found and did."""

    steps: Sequence[BuildStep] = ()
    built: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    base: str = ""
    base_changed: bool = False
    retired: Sequence[str] = ()

    @property
    def changed(self) -> bool:
        """Whether anything at the engine is another one now."""
        return bool(self.built or self.retired or self.base_changed)

    def document(self) -> dict[str, Any]:
        """Return the report as ``--json`` prints it."""
        return {
            "base": self.base,
            "images": [
                {
                    "image": step.spec.current,
                    "content": step.content,
                    "why": step.why,
                    "built": step.spec.name in self.built,
                    "failure": self.failures.get(step.spec.name, ""),
                }
                for step in self.steps
            ],
            "retired": list(self.retired),
            "failures": [f"{name}: {words}" for name, words in self.failures.items()],
            "changed": self.changed,
        }


@dataclass
class Builder:
    """One run over all images; the caller holds the lock :data:`LOCK`."""

    settings: ImagesSettings
    tools: BuildTools
    changed_paths: Sequence[str] = ()
    _engine: ImageEngine = field(init=False)
    _bases: Bases = field(init=False)
    _releases: Releases | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self._engine = ImageEngine(self.tools.run)
        self._bases = Bases(self.settings, self._engine, self.tools.run)
        if self.settings.runner is not None:
            note = Path(self.settings.state_dir, "runner")
            self._releases = Releases(
                self.settings.runner,
                self.settings.github,
                note,
                self.tools.fetch,
                self.tools.machine,
            )

    def survey(self, generation: str | None = None) -> BuildReport:
        """Return what a build would do; nothing is changed.

        Raises:
            DockerError: the engine does not answer.
            ConfigurationError: the sources are missing.

        """
        failures: dict[str, str] = {}
        specs = catalogue(self.settings, self._runner(generation is not None, failures))
        found = self._engine.find([spec.current for spec in specs])
        kept = self._kept()
        base_id = self._bases.identity()
        if not base_id and kept.get("base_image") == self.settings.base.reference:
            base_id = str(kept.get("base_id") or "")
        records = {spec.name: documents.read(self._record_path(spec)) or {} for spec in specs}
        wanted = str(kept.get("generation") or "") if generation is None else generation
        steps = plan(specs, found, records, base_id, wanted, self.changed_paths)
        declared = {spec.current for spec in specs}
        # Where it is not known which images there are, none is given up.
        retired = [
            name
            for name in names(self.tools.run)
            if name.endswith(":current") and name not in declared and not failures
        ]
        return BuildReport(steps=steps, base=base_id, retired=retired, failures=failures)

    def _runner(self, refresh: bool, failures: dict[str, str]) -> RunnerArchive | None:
        """Return the runner's archive; a refresh that GitHub refuses keeps the former one."""
        if self._releases is None:
            return None
        for anew in (True, False) if refresh else (False,):
            try:
                return self._releases.archive(refresh=anew)
            except ReleaseError as error:
                failures["runner"] = str(error)
        return None

    def build(self, *, refresh: bool = False) -> BuildReport:
        """Bring every image to its content; ``refresh`` fetches all packages again.

        Raises:
            DockerError: the engine does not answer, or the base cannot be had.
            ConfigurationError: the sources are missing.

        """
        generation = times.iso(self.tools.now()) if refresh else None
        before = self._bases.identity()
        self._sweep()
        needed = refresh or (not before and any(step.why for step in self.survey().steps))
        if needed:
            self.tools.progress(f"fetching the base {self.settings.base.reference}")
            self._provide_base()
        report = self.survey(generation)
        report.base_changed = needed and self._bases.identity() != before
        self._retire(report.retired)
        candidates = self._candidates(report)
        self._search_layers(candidates, report)
        for step in candidates.values():
            if step.spec.name in report.failures:
                self._drop(step)
            else:
                self._put_in_force(step)
                self._write_bill(step)
                report.built.append(step.spec.name)
        # Whatever else failed: the packages of the new generation are in force below it.
        if FOUNDATION not in report.failures:
            self._keep(generation)
        for step in report.steps:
            self._write_record(step, report)
        return report

    def _provide_base(self) -> None:
        """Fetch or make the base; why that fails is kept for whoever asks why there are no images."""
        note = Path(self.settings.state_dir, PROBLEM)
        try:
            self._bases.provide()
        except DockerError as error:
            documents.replace(note, {"detail": str(error)})
            raise
        note.unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Take away the names and the files that a killed build has left."""
        left = [name for name in names(self.tools.run) if ":candidate-" in name]
        if left:
            self._engine.tell(["image", "rm", "--no-prune", *left])
        for path in Path(self.settings.state_dir).glob("factory-*-*"):
            if path.is_dir():
                shutil.rmtree(path)

    def _retire(self, retired: Sequence[str]) -> None:
        """Take the names of images away that nobody declares any more, and their records."""
        if retired:
            there = set(names(self.tools.run))
            former = [name.removesuffix(":current") + ":previous" for name in retired]
            gone = [*retired, *(name for name in former if name in there)]
            self._engine.tell(["image", "rm", "--no-prune", *gone])
        for name in retired:
            image = name.removeprefix(f"{PREFIX}/").removesuffix(":current")
            Path(self.settings.state_dir, f"{image}.json").unlink(missing_ok=True)
            self._bill_path(image).unlink(missing_ok=True)

    def _candidates(self, report: BuildReport) -> dict[str, BuildStep]:
        """Build and try what has to be; an image whose parent failed is not tried."""
        candidates: dict[str, BuildStep] = {}
        for step in report.steps:
            parent = step.spec.parent
            if not step.why:
                continue
            if parent in report.failures:
                report.failures[step.spec.name] = f"not built, for {parent} failed"
                continue
            below = _candidate(candidates[parent]) if parent in candidates else ""
            try:
                if step.spec.name == CI and self._releases is not None:
                    self._releases.obtain()
                self.tools.progress(f"building {step.spec.name} ({step.why})")
                self._build_one(step, below or self._below(step.spec))
                candidates[step.spec.name] = step
                self.tools.progress(f"trying {step.spec.name}")
                self._try(step)
            except (DockerError, CandidateError, ReleaseError, OSError) as error:
                report.failures[step.spec.name] = str(error)
        return candidates

    def _below(self, spec: Spec) -> str:
        return f"{PREFIX}/{spec.parent}:current" if spec.parent else self.settings.base.reference

    def _build_one(self, step: BuildStep, below: str) -> None:
        spec = step.spec
        argv = ["build", "--tag", _candidate(step), f"--network={self.settings.build_network}"]
        arguments = {"BASE_IMAGE": below, "GENERATION": step.inputs["generation"], **spec.arguments}
        for name, value in arguments.items():
            argv += ["--build-arg", f"{name}={value}"]
        labels = {
            CONTENT_LABEL: step.content,
            BASE_LABEL: below,
            "aina-factory.role": "image",
            "aina-factory.instance": spec.name,
        }
        for name, value in labels.items():
            argv += ["--label", f"{name}={value}"]
        for name, path in (("ca", self.settings.ca_file), ("npmrc", self.settings.npmrc_file)):
            if path and Path(path).exists():
                argv += ["--secret", f"id={name},src={path}"]
        with tempfile.TemporaryDirectory(prefix="factory-image-", dir=self._work_dir()) as work:
            context = Path(spec.context)
            if spec.artifacts or spec.is_foreign:
                context = Path(work, "context")
                shutil.copytree(spec.context, context)
                for artifact in spec.artifacts:
                    _add(artifact, context)
            if spec.is_foreign:
                with (context / "Dockerfile").open("a") as dockerfile:
                    dockerfile.write(_ending(self._engine.find([below])[below]))
            self._engine.tell(
                [*argv, str(context)],
                timeout_seconds=self.settings.build_timeout_seconds,
                # What the client notes of a build goes with it, and not into root's home.
                environment={"BUILDX_CONFIG": f"{work}/buildx"},
            )

    def _work_dir(self) -> str:
        path = Path(self.settings.state_dir)
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def _try(self, step: BuildStep) -> None:
        """Let the candidate prove itself.

        Raises:
            CandidateError: it does not.

        """
        name = _candidate(step)
        found = self._engine.find([name])[name]
        if found.user.partition(":")[0] in {"", "0", "root"}:
            raise CandidateError(
                f"its default user is {found.user or 'root'}, which may do anything"
            )
        self._prove([*_CONFINED, *_AS_ROOT, name, "-s"], _AUDIT)
        expected = [f"--env=EXPECTED_{key.upper()}={value}" for key, value in _sorted(step)]
        for script in step.spec.smoke:
            argv = [*_CONFINED, *expected, "--entrypoint=/bin/sh", name, "-eu", "-s"]
            self._prove(argv, Path(script).read_bytes())

    def _prove(self, argv: Sequence[str], script: bytes) -> None:
        try:
            self._engine.tell(argv, stdin=script, timeout_seconds=SMOKE_SECONDS)
        except DockerError as error:
            words = str(error) or self._last_command(argv, script)
            raise CandidateError(f"the smoke test failed: {words}") from error

    def _last_command(self, argv: Sequence[str], script: bytes) -> str:
        """Return how a script ends that says nothing of what it failed at."""
        try:
            self._engine.tell(argv, stdin=b"set -x\n" + script, timeout_seconds=SMOKE_SECONDS)
        except DockerError as error:
            return str(error).rpartition("\n")[2] or "it says nothing"
        return "it failed once, and not the second time"

    def _search_layers(self, candidates: Mapping[str, BuildStep], report: BuildReport) -> None:
        """Refuse every candidate if a secret of the build is in a layer of one of them."""
        wanted = self._secrets()
        names = [name for name in candidates if name not in report.failures]
        if not wanted or not names:
            return
        self.tools.progress("looking for secrets in the layers")
        with tempfile.TemporaryDirectory(prefix="factory-save-", dir=self._work_dir()) as work:
            archive = Path(work, "images.tar")
            argv = ["save", "--output", str(archive), *(_candidate(candidates[n]) for n in names)]
            try:
                self._engine.tell(argv, timeout_seconds=SAVE_SECONDS)
                found = layers.search(archive, wanted)
                words = f"a layer holds {', '.join(found)} of this site" if found else ""
            except (DockerError, layers.LayerError, OSError) as error:
                words = f"its layers could not be searched: {error}"
        if words:
            report.failures |= dict.fromkeys(names, words)

    def _secrets(self) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        ca_file, npmrc_file = Path(self.settings.ca_file), Path(self.settings.npmrc_file)
        if self.settings.ca_file and ca_file.exists():
            found |= layers.site_certificates(ca_file.read_text("ascii", "replace"))
        if self.settings.npmrc_file and npmrc_file.exists():
            found |= layers.npm_credentials(npmrc_file.read_text("utf-8", "replace"))
        return found

    def roll_back(self, wanted: Sequence[str]) -> dict[str, str]:
        """Put the former image of each name in force again; return what became of each.

        The image that was in force keeps its content's name from being built again: only another
        content, or a refresh, ends the going back. To go back once more undoes it.

        Raises:
            DockerError: the engine does not answer.
            ConfigurationError: the sources are missing, or a name is none of ours.

        """
        steps = {step.spec.name: step for step in self.survey().steps}
        if unknown := sorted(set(wanted) - steps.keys()):
            raise ConfigurationError(
                f"no image {', '.join(unknown)} is declared; declared are: {', '.join(steps)}"
            )
        found: dict[str, str] = {}
        for name in wanted or steps:
            step = steps[name]
            before = self._engine.find([step.spec.previous]).get(step.spec.previous)
            if before is None:
                found[name] = "there is no former image"
                continue
            if step.current is not None and step.current.id == before.id:
                found[name] = "the former image is the same"
                continue
            self._swap(step, before)
            found[name] = f"back to {times.iso(before.created_at)}"
        return found

    def _swap(self, step: BuildStep, before: EngineImage) -> None:
        """Let the former image and the one in force change their names, and write it down."""
        spec, path = step.spec, self._record_path(step.spec)
        aside = f"{spec.repository}:candidate-aside"
        if step.current is not None:
            self._engine.tell(["tag", spec.current, aside])
        self._engine.tell(["tag", spec.previous, spec.current])
        if step.current is not None:
            self._engine.tell(["tag", aside, spec.previous])
            self._engine.tell(["image", "rm", "--no-prune", aside])
        record = dict(documents.read(path) or {})
        content = before.labels.get(CONTENT_LABEL, "")
        record["rolled_back_from"] = "" if content == step.content else step.content
        record |= _record(step, before, "", self._base_built_at(), record, built=False, now=0.0)
        documents.replace(path, record)

    def _put_in_force(self, step: BuildStep) -> None:
        if step.current is not None:
            self._engine.tell(["tag", step.spec.current, step.spec.previous])
        self._engine.tell(["tag", _candidate(step), step.spec.current])
        self._drop(step)

    def _write_bill(self, step: BuildStep) -> None:
        """Write down what the image holds, and tell what is another than before; nothing hangs on it."""
        spec, path = step.spec, self._bill_path(step.spec.name)
        argv = [*_CONFINED, *_AS_ROOT, spec.current, "-s"]
        try:
            text = self._engine.tell(argv, stdin=bill.SCRIPT, timeout_seconds=SMOKE_SECONDS)
        except DockerError as error:
            self.tools.progress(f"what {spec.name} holds is unknown: {error}")
            path.unlink(missing_ok=True)
            return
        before, after = documents.read(path) or {}, bill.document(spec.current, step.content, text)
        if words := bill.difference(before, after):
            self.tools.progress(f"{spec.name}: {words}")
        files.write(path, json.dumps(after, indent=1).encode())

    def _bill_path(self, name: str) -> Path:
        return Path(self.settings.state_dir, "bills", f"{name}.cdx.json")

    def _drop(self, step: BuildStep) -> None:
        """Take the candidate's name away; without a name an image is the janitor's."""
        self._engine.tell(["image", "rm", "--no-prune", _candidate(step)])

    # --- What is remembered ---------------------------------------------------------

    def _record_path(self, spec: Spec) -> Path:
        return Path(self.settings.state_dir, f"{spec.name}.json")

    def _kept(self) -> dict[str, Any]:
        return documents.read(Path(self.settings.state_dir, "generation")) or {}

    def _keep(self, generation: str | None) -> None:
        kept = self._kept()
        wanted = {
            "generation": kept.get("generation", "") if generation is None else generation,
            "base_image": self.settings.base.reference,
            "base_id": self._bases.identity() or kept.get("base_id", ""),
        }
        if {name: kept.get(name) for name in wanted} != wanted:
            documents.replace(Path(self.settings.state_dir, "generation"), wanted)

    def _write_record(self, step: BuildStep, report: BuildReport) -> None:
        path, name = self._record_path(step.spec), step.spec.name
        before = documents.read(path) or {}
        failure = report.failures.get(name, "")
        built = name in report.built
        recorded = before.get("smoke") == "ok" and step.content in (
            before.get("content"),
            before.get("rolled_back_from"),
        )
        if not built and not failure and recorded:
            return
        current = self._engine.find([step.spec.current]).get(step.spec.current)
        record = _record(
            step, current, failure, self._base_built_at(), before, built=built, now=self.tools.now()
        )
        documents.replace(path, record)

    def _base_built_at(self) -> str:
        base = self._engine.find([self.settings.base.reference]).get(self.settings.base.reference)
        return times.iso(base.created_at) if base else ""


def _record(
    step: BuildStep,
    current: EngineImage | None,
    failure: str,
    base_built_at: str,
    before: Mapping[str, Any],
    *,
    built: bool,
    now: float,
) -> dict[str, Any]:
    """Return what the state says of an image: always of the one in force, if there is one."""
    # What was gone back from stays so until something else is in force.
    left = "" if built else before.get("rolled_back_from", "")
    return {
        "image": step.spec.current,
        "content": current.labels.get(CONTENT_LABEL, "") if current else "",
        "id": current.id if current else "",
        "built_at": times.iso(current.created_at if current else now),
        "base": current.labels.get(BASE_LABEL, "") if current else "",
        "base_built_at": base_built_at or None,
        "size_bytes": current.size_bytes if current else 0,
        "smoke": "failed" if failure else "ok",
        "detail": failure or ("it was rolled back" if left == step.content else ""),
        **({"rolled_back_from": left} if left else {}),
        "inputs": step.inputs if built or not failure else before.get("inputs", {}),
    }


def _sorted(step: BuildStep) -> list[tuple[str, str]]:
    return sorted(step.spec.expected.items())


def _candidate(step: BuildStep) -> str:
    return f"{step.spec.repository}:candidate-{step.content[:12]}"


def _ending(below: EngineImage) -> str:
    """Return what closes a project's Dockerfile: it starts as what it is built on does, and nobody gets root."""
    lines = [
        "",
        "USER 0",
        "RUN find / -xdev -type f -perm /6000 -exec chmod a-s {} +",
        f"USER {below.user}",
    ]
    lines += [f"WORKDIR {below.directory}"] if below.directory else []
    lines += [f"ENTRYPOINT {json.dumps(below.entrypoint)}"] if below.entrypoint else []
    return "\n".join([*lines, ""])


def _add(artifact: Artifact, context: Path) -> None:
    """Put the file into the context, if it is what it should be."""
    digest, target = hashlib.sha256(), context / artifact.name
    with Path(artifact.path).open("rb") as source, target.open("wb") as copy:
        while chunk := source.read(1 << 20):
            digest.update(chunk)
            copy.write(chunk)
    if digest.hexdigest() != artifact.sha256:
        raise CandidateError(
            f"{artifact.path} has the SHA-256 {digest.hexdigest()} instead of {artifact.sha256}; "
            "it is not what was released: fetch it again"
        )


def names(run: Run) -> list[str]:
    """Return every name of ours that the engine's images have."""
    listed = ImageEngine(run).tell(["images", "--format", "{{.Repository}}:{{.Tag}}"]).split()
    return [name for name in listed if name.startswith(f"{PREFIX}/")]


def forget(given: Sequence[str], run: Run) -> None:
    """Take names away; an image that a container still uses stays until that has ended."""
    ImageEngine(run).tell(["image", "rm", "--force", *given], timeout_seconds=SMOKE_SECONDS)


def facts(directory: Path) -> list[dict[str, Any]]:
    """Return the records under ``directory``, one per image, for whoever shows or judges them."""
    found = []
    for path in sorted(directory.glob("*.json")):
        record = documents.read(path)
        if record is not None and "image" in record:
            found.append(record)
        else:
            found.append({"image": path.stem, "smoke": "unknown", "detail": f"{path} is damaged"})
    return found
