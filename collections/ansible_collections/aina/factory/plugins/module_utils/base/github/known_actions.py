"""What is known of public actions: what they need, and what they bring. Names in lower case.

``owner/*`` means all of an owner's. Facts of the actions' own ``action.yml``; reviewed 2026-11.
"""

from __future__ import annotations

from collections.abc import Mapping

# They are images themselves, or command a container engine.
ENGINE_ACTIONS = frozenset(
    (
        "addnab/docker-run-action",
        "bridgecrewio/checkov-action",
        "burnett01/rsync-deployments",
        "codespell-project/actions-codespell",
        "container-tools/kind-action",
        "crazy-max/ghaction-docker-meta",
        "crazy-max/ghaction-setup-docker",
        "devcontainers/ci",
        "docker/*",
        "docker-practice/actions-setup-docker",
        "doozyx/clang-format-lint-action",
        "elgohr/publish-docker-github-action",
        "engineerd/setup-kind",
        "fsfe/reuse-action",
        "gaurav-nelson/github-action-markdown-link-check",
        "github/super-linter",
        "google/clusterfuzzlite",
        "google/oss-fuzz",
        "hadolint/hadolint-action",
        "helm/kind-action",
        "jidicula/clang-format-action",
        "mr-smithers-excellent/docker-build-push",
        "multiarch/qemu-user-static",
        "nolar/setup-k3d-k3s",
        "oxsecurity/megalinter",
        "pypa/cibuildwheel",
        "pypa/gh-action-pypi-publish",
        "returntocorp/semgrep-action",
        "snyk/actions",
        "sonarsource/sonarcloud-github-action",
        "super-linter/super-linter",
        "supercharge/mongodb-github-action",
        "supercharge/redis-github-action",
        "trufflesecurity/trufflehog",
        "uraimo/run-on-arch-action",
        "wagoid/commitlint-github-action",
    )
)
# They install packages of the system, or change it.
ROOT_ACTIONS = frozenset(
    (
        "ankane/setup-mysql",
        "ankane/setup-postgres",
        "awalsh128/cache-apt-pkgs-action",
        "cachix/install-nix-action",
        "canonical/setup-lxd",
        "coactions/setup-xvfb",
        "cross-platform-actions/action",
        "daaku/gh-action-apt-install",
        "determinatesystems/nix-installer-action",
        "easimon/maximize-build-space",
        "egor-tensin/setup-gcc",
        "gabrielbb/xvfb-action",
        "gerlero/apt-install",
        "ikalnytskyi/action-setup-postgres",
        "insightsengineering/disk-space-reclaimer",
        "jlumbroso/free-disk-space",
        "r-lib/actions/setup-r",
        "r-lib/actions/setup-r-dependencies",
        "shivammathur/setup-php",
        "tailscale/github-action",
        "tecolicom/actions-use-apt-tools",
        "vmactions/*",
    )
)
_PYTHON = ("python", "python3", "pip", "pip3")
_RUST = ("cargo", "rustc", "rustup")
# Programs that an action brings with it.
PROGRAMS_OF_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "actions-rs/toolchain": _RUST,
    "actions-rust-lang/setup-rust-toolchain": _RUST,
    "actions/setup-dotnet": ("dotnet",),
    "actions/setup-go": ("go",),
    "actions/setup-java": ("java", "javac"),
    "actions/setup-python": _PYTHON,
    "aws-actions/setup-sam": ("sam",),
    "azure/setup-helm": ("helm",),
    "azure/setup-kubectl": ("kubectl",),
    "bazel-contrib/setup-bazel": ("bazel",),
    "conda-incubator/setup-miniconda": ("conda", *_PYTHON),
    "dtolnay/rust-toolchain": _RUST,
    "google-github-actions/setup-gcloud": ("gcloud",),
    "gradle/actions/setup-gradle": ("gradle",),
    "graalvm/setup-graalvm": ("java", "javac"),
    "haskell-actions/setup": ("cabal", "ghc", "stack"),
    "hashicorp/setup-packer": ("packer",),
    "hashicorp/setup-terraform": ("terraform",),
    "julia-actions/setup-julia": ("julia",),
    "lukka/get-cmake": ("cmake", "ctest", "ninja"),
    "pulumi/actions": ("pulumi",),
    "r-lib/actions/setup-r": ("R", "Rscript"),
    "ruby/setup-ruby": ("bundle", "gem", "rake", "ruby"),
    "s4u/setup-maven-action": ("java", "javac", "mvn"),
    "seanmiddleditch/gha-setup-ninja": ("ninja",),
    "stcarolas/setup-maven": ("mvn",),
    "swift-actions/setup-swift": ("swift",),
}
