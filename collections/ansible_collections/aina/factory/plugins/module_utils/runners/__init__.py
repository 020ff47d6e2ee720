"""Self-hosted runners: registered by proof, one fresh container per job, ended by their own limits.

``release`` gets the application, ``guard`` says who may be served, ``api`` asks GitHub.
"""
