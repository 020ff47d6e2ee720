"""The ground: effects as ports, files, text, time, locks, configuration, disk, processes, Docker, git, GitHub."""
