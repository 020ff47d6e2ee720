"""The core: what decides, for the modules of Ansible and, as factory.core, for the command."""
