"""The server's scheduled jobs: declaration, rendering, plan, report."""
