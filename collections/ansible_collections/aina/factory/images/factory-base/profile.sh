# shellcheck shell=sh
# A login shell begins with the distribution's search path; agents run their commands in one.
PATH=/opt/project-toolchain/bin:/opt/toolchain/bin:$PATH
