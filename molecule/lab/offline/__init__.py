"""Stand-ins for what no registry, release page or package repository of upstream delivers."""
