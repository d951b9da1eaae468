"""Reports runs of batch jobs to Prometheus Pushgateway, and never harms the job."""
