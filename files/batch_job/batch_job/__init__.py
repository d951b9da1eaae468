"""Reports runs of batch jobs to Prometheus Pushgateway, and never harms the job."""

__version__ = "1.0.0"
