"""What a host is made of: packages, files, units, users, certificates, firewall, SSH, kernel, the engine's settings."""
