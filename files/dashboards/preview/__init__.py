"""Pictures of the dashboards: a made-up week of jobs in a real Prometheus, drawn by Chromium."""
